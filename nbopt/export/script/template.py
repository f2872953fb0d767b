"""A script's own functions with all that a run may have used: `nbopt.export.script.prune` leaves out the rest.

A ``$word`` is filled in before, by `nbopt.export.script.loop`; a hyperparameter that stays becomes a constant.
"""

TRAIN = '''\
def train(model, train, val=None$arguments):
    """Train ``model``; return the values of every metric, one for each $period.

    $told_data
    $told_arguments
    """
    device = next(model.parameters()).device
    $take_arguments
    $first
    $setup
    STARTING_VALUES

    $optimizer
    given = [dict(group) for group in optimizer.param_groups]
    rates = [key for key in ("lr", "weight_decay") if key in given[0]]
    largest = {key: max(group[key] for group in given) for key in rates}
    scaler = torch.amp.GradScaler(device.type)
    history = defaultdict(list)
    context = Context(model, device, SEED, history)
    $techniques

    def change_weights(weights):
        """Return what the model computes with."""
        $change_weights
        return weights

    def change_activations(layer, x):
        """Return what a layer gets."""
        $change_activations
        return x

    $run_passes

    calls = partial(call_changed, [change_activations], $call)
    reweighted = Reweighted(model, $computes, change_weights)
    $edits
    $begin
    if mode_is_one:
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
        $closing
        return loss.detach()

    for step in $steps:
        changes = SCHEDULE.get(step, {})
        if "restore_best" in changes:
            model.load_state_dict(best_weights)
        if "reopen" in changes:
            waited = 0
        if "edits" in changes:
            $forget
            for edit in changes["edits"]:
                if best_weights:
                    best_weights = edited(best_weights, edits[edit], model)
                edits[edit](model, optimizer)
                $renew
        UPDATES
        $update_techniques
        if "loss" in changes or "judge_anew" in changes:
            best_loss, best_weights = float("inf"), {}
            waited = 0
            bar = float("inf")
        if "optimizer" in changes:
            earlier = optimizer
            make_optimizer = OPTIMIZERS[changes["optimizer"]]
            $take_weights
            optimizer = make_optimizer($weights, lr=changes["lr"])
            both = (earlier, optimizer)
            if carries:
                if all(isinstance(one, torch.optim.Adam) for one in both):
                    optimizer.state.update(earlier.state)  # the same running means
        if shares_out:
            for group, settings in zip(optimizer.param_groups, given):
                for name in changes.keys() & group.keys():
                    group[name] = share_out(changes[name], name, settings, largest)
        else:
            for group in optimizer.param_groups:
                group.update({name: new for name, new in changes.items() if name in group})
        $optimizer_changed
        $changed

        if step >= steps if steps else epoch >= epochs:
            break
        if waits:
            if early_stopping and waited >= patience:
                break

        if batches.position == 0:  # an epoch begins
            $begin_epoch
        $uncertain
        scaled = precision_name == "float16"
        progress = $progress
        done = min(1.0, step / steps if steps else progress / epochs)
        context.step, context.progress = step, done
        $before_step
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
        $move_scales
        losses.append(loss.item())
        $record

        larger = max(batch_size, SCHEDULE.get(step + 1, {}).get("batch_size", 0))
        if $complete or "leave_out" in SCHEDULE.get(step + 1, {}):
            epoch, batches.position = epoch + 1, 0  # the epoch is complete
            $validate
        if by_steps:
            ended = batches.position == 0
            due = (step + 1) % validate_every == 0 if validate_every else ended
            over = step + 1 >= steps if steps else epoch >= epochs
            if due or over:
                $validate_then

    $edit_end
    if waits:
        if best_weights and early_stopping:
            model.load_state_dict(best_weights)
    elif ends_best:
        model.load_state_dict(best_weights)
    return dict(history)
'''

RUN_PASSES = '''\
$no_graph
def run_passes():
    """Do the epoch's first batches as in a step, up to 4,096 samples."""
    if batches.position == 0:
        $begin_epoch
    first = copy.copy(batches)
    seed_all(derive_seed(SEED, NOISE) + step)
    for start in range(0, min(batches.size, 4096), $usual):
        first.position = start
        batch = first.take($usual)
        if start and first.position - start < 2:
            break  # batch normalization cannot train on one sample
        $change_samples
        $shape_batch
        with cast_to(precision_name, device):
            $call(model, batch)
'''

RATE = """\
rate = lr
$change_rate
if shares_out:
    for group, settings in zip(optimizer.param_groups, given):
        group["lr"] = share_out(rate, "lr", settings, largest)
else:
    for group in optimizer.param_groups:
        group["lr"] = rate
"""

SAMPLES = """\
x, y = batch[0], batch[1]
$change_inputs
$change_batch
batch = (x, y$rest)
"""

PASSES = """\
do = forward_pass
$change_pass
$made
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
seed_all(derive_seed(SEED, NOISE) + step$part)
$change_samples
$shape_batch
with cast_to(precision_name, device):
    $do
$widen
$note
$weigh
$backward
added += loss.detach()
if $count_outputs > 100_000:
    recent.clear()
recent.append(($kept, target))
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
    if mode_is_one:
        training = model.training
    else:
        modes = [(module, module.training) for module in model.modules()]
    model.eval()
    $start
    results = []
    batches.begin($seed)
    while $left:
        seed = derive_seed(SEED, EVALUATION) + $number
        batch = batches.take($take)
        seed_all(seed)
        $change_samples
        $shape_batch
        with cast_to(precision_name, device):
            output, target = $outputs
            $measure
        $add
        results.append(($measured, target))
    if mode_is_one:
        model.train(training)
    else:
        for module, training in modes:
            module.training = training
    return $mean$results
'''

INPUTS = """\
x = batch[0]
$change_inputs
batch = (x, *batch[1:])
"""
