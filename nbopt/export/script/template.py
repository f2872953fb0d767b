"""A script's own functions with all that a run may have used: `nbopt.export.script.prune` leaves out the rest.

A ``$word`` is filled in before that, by `nbopt.export.script.loop`; afterwards a hyperparameter, which is written in
lower case here, becomes a constant where it does not change.
"""

TRAIN = '''\
def train(model, train, val=None$arguments):
    """Train ``model``; return the values of every metric, one for each $period.

    $told_data
    $told_arguments
    """
    device = next(model.parameters()).device
    $take_arguments
    draw_weights(model, $draw, initial_gain, derive_seed(SEED, INITIALIZATION))
    $setup
    STARTING_VALUES

    $optimizer
    given = [dict(group) for group in optimizer.param_groups]
    rates = [key for key in ("lr", "weight_decay") if key in given[0]]
    largest = {key: max(group[key] for group in given) for key in rates}
    lay_out(model, optimizer, channels_last)
    model.to(memory_format=torch.contiguous_format)
    scaler = torch.amp.GradScaler(device.type)
    history = defaultdict(list)
    context = Context(model, device, SEED, history)
    $techniques

    def change_weights(weights):
        """Return what the model computes with."""
        $change_weights
        return weights

    reweighted = Reweighted(model, $call, change_weights)
    set_dropout(model, DROPOUT)
    if not model.training:
        model.train()

    losses = []
    recent = deque(maxlen=16)  # what the training metrics are measured on
    best_loss, best_weights = float("inf"), {}
    waited = 0  # validations since the loss was last better
    bar = float("inf")  # the loss when it was
    $balances
    epoch = 0

    def lose(output, target):
        """Return what the loss of the step's samples would be."""
        return compute_loss(output, target$training)

    def forward_pass(batch):
        """Return outputs, targets and loss of what the model gets."""
        $forward
        return output, target, loss

    def closure($differentiate):
        """Return the loss of the step's samples; leave its gradients in the weights."""
        batch = samples
        $gradients
        if isinstance(optimizer, torch.optim.LBFGS):
            for weight in $parameters:
                if weight.grad is not None:
                    weight.grad = weight.grad.contiguous()
            with torch.no_grad():
                for weight in $parameters:
                    loss = loss + weight_decay / 2 * weight.square().sum()
                    if weight.grad is not None:
                        weight.grad.add_(weight, alpha=weight_decay)
        return loss.detach()

    for step in $steps:
        changes = SCHEDULE.get(step, {})
        if "restore_best" in changes:
            model.load_state_dict(best_weights)
        if "reopen" in changes:
            waited = 0
        UPDATES
        $update_techniques
        if "loss" in changes or "judge_anew" in changes:
            best_loss, best_weights = float("inf"), {}
            waited = 0
            bar = float("inf")
        if "dropout" in changes:
            set_dropout(model, changes["dropout"])
        if "optimizer" in changes:
            earlier = optimizer
            make_optimizer = OPTIMIZERS[changes["optimizer"]]
            optimizer = make_optimizer($parameters, lr=changes["lr"])
            both = (earlier, optimizer)
            if all(isinstance(one, torch.optim.Adam) for one in both):
                optimizer.state.update(earlier.state)  # the same running means
        for group, settings in zip(optimizer.param_groups, given):
            for name in changes.keys() & group.keys():
                group[name] = share_out(changes[name], name, settings, largest)
        for group in optimizer.param_groups:
            group.update({name: new for name, new in changes.items() if name in group})
        if "history_size" in changes:
            forget_oldest(optimizer, changes["history_size"])
        if changes.get("momentum"):
            begin_momentum(optimizer)
        if "channels_last" in changes:
            lay_out(model, optimizer, channels_last)

        if step >= steps if steps else epoch >= epochs:
            break
        if early_stopping and waited >= patience:
            break

        if batches.position == 0:  # an epoch begins
            $begin_epoch
        uncertain = (scales, seen) if balance == "uncertainty" else ()
        scaled = precision_name == "float16"
        progress = $progress
        done = min(1.0, step / steps if steps else progress / epochs)
        context.step, context.progress = step, done
        full = isinstance(optimizer, $full_classes)
        number = leave_none_alone(batches, batch_size)
        $batch = batches.take($number)

        if full:
            $set_rate
            if optimizer.param_groups[0]["lr"] == 0:  # nothing to search along
                loss = closure()
            else:
                loss = optimizer.step(closure)
        else:
            $compute
            $set_rate
            if scaled:
                scaler.step(optimizer)  # unless a gradient overflowed
                scaler.update()
            else:
                optimizer.step()
        $after_step
        if seen:
            weights = [
                $term_weights
            ]
            scales = move_scales(scales, seen, weights, $balance_rate)
            seen.clear()
        losses.append(loss.item())
        $record

        larger = max(batch_size, SCHEDULE.get(step + 1, {}).get("batch_size", 0))
        if $complete or "leave_out" in SCHEDULE.get(step + 1, {}):
            epoch, batches.position = epoch + 1, 0  # the epoch is complete
            $validate
        ended = batches.position == 0
        due = (step + 1) % validate_every == 0 if validate_every else ended
        over = step + 1 >= steps if steps else epoch >= epochs
        if due or over:
            $validate_then

    if best_weights and early_stopping:
        model.load_state_dict(best_weights)
    return dict(history)
'''

RATE = """\
rate = lr
$change_rate
$give
"""

GIVE = """\
for group in optimizer.param_groups:
    group["lr"] = rate
"""

SHARE_OUT = """\
for group, settings in zip(optimizer.param_groups, given):
    group["lr"] = share_out(rate, "lr", settings, largest)
"""

GRADIENTS = """\
optimizer.zero_grad()
$begin_note
$passes
if scaled:
    scaler.unscale_(optimizer)
$after_gradients
"""

PASS = """\
seed_all(derive_seed(SEED, NOISE) + step + 1_000_003 * part)
x, y = batch[0], batch[1]
$change_inputs
$change_batch
batch = (x, y$rest)
if channels_last:
    batch = $laid
with cast_to(precision_name, device):
    do = forward_pass
    $change_pass
    $made
    $forward_here
loss = loss.float()
$note
$weigh
$backward
added += loss.detach()
if $count_outputs > 100_000:
    recent.clear()
recent.append(($kept, target))
"""

PARTS = """\
# The batch goes through the model in parts, whose gradients add up.
whole, added = batch, 0.0
counted = of = 0  # labels that count, of all
parts = $parts
for part, (batch, share) in enumerate(parts):
    $pass
loss = added
if of:
    labelled = (counted / of).to(loss.dtype)
    loss = loss / labelled
    labelled = torch.where(labelled > 0, labelled, 1.0)  # nothing counts
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if weight.grad is not None:
                weight.grad.div_(labelled)
"""

BY_LABELS = """\
if share < 1 and not target.is_floating_point():
    kept = (target != $ignored).sum()
    counted, of = counted + kept, of + target.numel()
    share = (kept / target.numel() * share).to(loss.dtype)
    loss = torch.where(kept > 0, loss * share, 0.0)
else:
    loss = loss * share
"""

VALIDATE = """\
history["loss"].append(sum(losses) / len(losses))
losses.clear()
for name, value in $measure_all(recent).items():
    history[name].append(value)
recent.clear()
$no_loss
if val is not None:
    $val_loss$results = evaluate($model, val$told)
    $as_batch
    history["val_loss"].append(val_loss)
    for name, value in $measure_all(results).items():
        history["val_" + name].append(value)
    if $judged < bar - min_delta:
        bar, waited = $judged, 0
    else:
        waited += 1
    if $judged < best_loss:
        best_loss = $judged
        best_weights = copy.deepcopy(model.state_dict())
$tell
$after_epoch
"""

TELL = """\
progress = $progress
context.progress = min(1.0, (step + 1) / steps if steps else progress / epochs)
"""

EVALUATE = '''\
$no_graph
def evaluate(model, batches$told):
    """Return the mean loss of the samples in ``batches``$outcome."""
    device = next(model.parameters()).device
    modes = [(module, module.training) for module in model.modules()]
    training = model.training
    model.eval()
    $start
    results = []
    batches.begin($seed)
    while $left:
        seed = derive_seed(SEED, EVALUATION) + $number
        batch = batches.take($take)
        seed_all(seed)
        x = batch[0]
        $change_inputs
        batch = (x, *batch[1:])
        if channels_last:
            batch = $laid
        with cast_to(precision_name, device):
            output, target = $outputs
            $measure
        $add
        results.append(($measured, target))
    for module, training in modes:
        module.training = training
    model.train(training)
    return $mean$results
'''
