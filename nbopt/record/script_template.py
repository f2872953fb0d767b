"""The script that `nbopt.record.script` fills in; `nbopt.record.template` tells what the marks mean."""

SCRIPT = '''\
"""$title

    history = train(model, train=(X, y), val=(X_val, y_val))  #? pair
    history = train(model, train=data, val=val_data)  #? not pair

``model`` is the model as it was before that run; it is trained in place. Returned are
the values of every metric, one for each epoch.
$ending
"""

$imports

$constants

#? schedule
# {step: {what: new value}}: changes that act from the step of that number on. The first
# step is number 0.
$schedule
#?

#? seeds
# Streams of random numbers, each with seeds of its own, all drawn from SEED.
ORDER = 0  #? shuffle
NOISE = 1  #? noise
SPLIT = 2  #? share
EVALUATION = 3  #? noisy_evaluation
#?


#? seeds
def derive_seed(stream, index=0):
    """Return the seed number ``index`` of a stream."""
    state = np.random.SeedSequence([SEED, stream, index]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


#?
def as_tensor(values, device):
    """Return a tensor: float64 becomes float32, whole numbers become int64."""
    if not isinstance(values, torch.Tensor):
        values = torch.from_numpy(np.array(values))
    #? bytes
    if values.dtype == torch.uint8 and values.ndim > 1:
        return values.detach().to(device)
    #?
    if values.dtype == torch.float64:
        values = values.float()
    elif not values.is_floating_point():  #? not complex
    elif not values.is_floating_point() and not values.is_complex():  #? complex
        values = values.long()
    return values.detach().to(device)


$definitions


def compute_loss(output, target$loss_parameters):
    """Return the mean loss of a batch."""
    target = target.reshape(output.shape).to(output.dtype)  #? elementwise
    $loss_body


#? accuracy
def accuracy(output, target):
    """Share of samples with the highest score, or the sign of the score, right."""
    if output.ndim > 1 and output.shape[1] > 1:
        labels = target.argmax(1) if target.shape == output.shape else target
        return (output.argmax(1) == labels).float().mean()
    return ((output > 0).flatten() == (target > 0.5).flatten()).float().mean()


#?
#? numbers
def as_columns(output, target):
    """Return outputs and targets as float64, one row for each sample."""
    output = output.double().reshape(len(output), -1)
    return output, target.double().reshape(output.shape)


#?
#? r2
def r2(output, target):
    """Coefficient of determination."""
    output, target = as_columns(output, target)
    spread = (target - target.mean(0)) ** 2
    return 1 - ((target - output) ** 2).sum() / spread.sum()


#?
#? mae
def mae(output, target):
    """Mean absolute error."""
    output, target = as_columns(output, target)
    return (target - output).abs().mean()


#?
#? rmse
def rmse(output, target):
    """Root of the mean squared error."""
    output, target = as_columns(output, target)
    return ((target - output) ** 2).mean().sqrt()


#?
#? metrics
$metrics_table


@torch.no_grad()
def measure(results):
    """Return the metrics of a list of (output, target)."""
    output = torch.cat([output for output, _ in results])
    target = torch.cat([target for _, target in results])
    return {name: float(metric(output, target)) for name, metric in METRICS.items()}


#?
@torch.no_grad()
def evaluate(model, data$evaluation_parameters):
    """Return the mean loss of the samples in ``data``."""  #? not metrics
    """Return the mean loss of the samples in ``data``, and each (output, target)."""  #? metrics
    training = model.training
    model.eval()
    total = 0.0
    results = []  #? metrics
    for start in range(0, len(data[0]), EVALUATION_BATCH):
        batch = tuple(column[start : start + EVALUATION_BATCH] for column in data)
        torch.manual_seed(derive_seed(EVALUATION) + start // EVALUATION_BATCH)  #? noisy_evaluation
        $change_inputs
        output, target = $outputs
        total += compute_loss(output, target$measure_arguments).item() * len(batch[0])
        results.append((output, target))  #? metrics
    model.train(training)
    return total / len(data[0])  #? not metrics
    return total / len(data[0]), results  #? metrics


#? part_updates
def update(part, changes):
    """Give a part the new values that concern it."""
    for name, value in changes.items():
        if hasattr(part, name):
            setattr(part, name, value)


#?
#? take_over
def take_over(part, earlier):
    """Hand over what both remember; return the new part."""
    for name in set(part.memory) & set(earlier.memory):
        setattr(part, name, getattr(earlier, name))
    return part


#?
#? dropout
def set_dropout(model, probability):
    """Give every layer with dropout this probability."""
    for module in model.modules():
        #? dropout_layers
        if isinstance(module, $dropout_layers):
            module.p = probability
        #?
        #? dropout_attributes
        $dropout_or isinstance(module, $dropout_attributes):
            module.dropout = probability
        #?


#?
def train(model, train, val=None):
    """Train ``model``; return the values of every metric, one for each epoch.

    #? pair
    ``train`` and ``val`` are pairs (X, y) of arrays or tensors.
    #?
    #? single
    ``train`` and ``val`` are arrays or tensors.
    #?
    #? columns
    ``train`` and ``val`` are tuples of arrays or tensors.
    #?
    #? share
    Without ``val``, a part of ``train`` is set aside for it.
    #?
    """
    device = next(model.parameters()).device
    data = [as_tensor(column, device) for column in train]  #? not single
    data = [as_tensor(train, device)]  #? single
    #? share
    if val is None:
        rows, val_rows = train_test_split(
            range(len(data[0])),
            test_size=VAL_SHARE,
            random_state=derive_seed(SPLIT) % 2**32,
            stratify=data[-1].cpu().numpy(),  #? stratified
        )
        val = [column[val_rows] for column in data]
        data = [column[rows] for column in data]
    #? not single
    else:
        val = [as_tensor(column, device) for column in val]
    #?
    #? single
    else:
        val = [as_tensor(val, device)]
    #?
    #?
    #? not share
    if val is not None:
        val = [as_tensor(column, device) for column in val]  #? not single
        val = [as_tensor(val, device)]  #? single
    #?
    size = len(data[0])
    $starting_values

    parameters = [p for p in model.parameters() if p.requires_grad]  #? listed
    $optimizer
    $make_parts
    $fit_parts
    set_dropout(model, DROPOUT)  #? starting_dropout
    if not model.training:
        model.train()

    history = defaultdict(list)
    losses = []
    recent = deque(maxlen=16)  # what the training metrics are measured on  #? metrics
    best_loss, best_weights = float("inf"), {}  #? best
    waited = 0  # validations since the loss was last better  #? patience
    bar = float("inf")  # the loss when it was  #? min_delta
    epoch = position = 0
    for step in itertools.count():  #? own_end
    for step in range(STEPS):  #? not own_end
        #? schedule
        changes = SCHEDULE.get(step, {})
        #? restores
        if "restore_best" in changes:
            model.load_state_dict(best_weights)
        #?
        #? reopens
        if "reopen" in changes:
            waited = 0
        #?
        $updates
        $part_updates
        #? best_reset
        if "loss" in changes:
            best_loss, best_weights = float("inf"), {}
            waited = 0  #? patience
            bar = float("inf")  #? min_delta
        #?
        #? dropout_changes
        if "dropout" in changes:
            set_dropout(model, changes["dropout"])
        #?
        #? swap
        if "optimizer" in changes:  # the new one begins without memory  #? not carries
        #? carries
        if "optimizer" in changes:
            earlier = optimizer
        #?
            make_optimizer = OPTIMIZERS[changes["optimizer"]]
            optimizer = make_optimizer($parameters, lr=changes["lr"])
            #? carries
            both = (earlier, optimizer)
            if all(isinstance(one, torch.optim.Adam) for one in both):
                optimizer.state.update(earlier.state)  # the same running means
            #?
        #?
        #? optimizer_changes
        for group in optimizer.param_groups:
            group.update({name: new for name, new in changes.items() if name in group})
        #?
        #? late_momentum
        if changes.get("momentum"):
            for state in optimizer.state.values():
                if "square_avg" in state and "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(state["square_avg"])
        #?

        #?
        #? own_end
        if epoch >= $epochs:
            break
        #? patience
        if $out_of_patience:
            break
        #?
        #?

        #? shuffle
        if position == 0:  # an epoch begins, in an order of its own
            generator = torch.Generator().manual_seed(derive_seed(ORDER, epoch))
            order = torch.randperm(size, generator=generator).to(device)
            shuffled = [column[order] for column in data]
        #?
        progress = epoch + position / size  #? rates
        batch = tuple(column[position : position + $batch_size] for column in $dealt)
        position += len(batch[0])

        optimizer.zero_grad()
        #? not parts
        torch.manual_seed(derive_seed(NOISE) + step)  #? noise
        $change_batch
        output, target = $outputs
        loss = compute_loss(output, target$loss_arguments)
        $change_loss
        loss.backward()
        #? metrics
        if output.numel() > 100_000:
            recent.clear()
        recent.append((output.detach(), target))
        #?
        #?
        #? parts
        # The batch goes through the model in parts, whose gradients add up.
        whole, loss = batch, 0.0
        count = len(whole[0])
        part = $micro_batch or count
        for start in range(0, count, part):
            batch = tuple(column[start : start + part] for column in whole)
            #? noise
            seed = derive_seed(NOISE) + step + 1_000_003 * (start // part)
            torch.manual_seed(seed)
            #?
            $change_batch
            output, target = $outputs
            share = len(batch[0]) / count
            part_loss = compute_loss(output, target$loss_arguments) * share  #? not mixes
            #? mixes
            loss_now = compute_loss(output, target$loss_arguments)
            $change_part_loss
            part_loss = loss_now * share
            #?
            part_loss.backward()
            loss += part_loss.detach()
            #? metrics
            if output.numel() > 100_000:
                recent.clear()
            recent.append((output.detach(), target))
            #?
        #?
        $after_gradients
        #? rates
        rate = $lr
        $change_rate
        for group in optimizer.param_groups:
            group["lr"] = rate
        #?
        optimizer.step()
        $after_step
        losses.append(loss.item())

        if position == size:  # the epoch is complete
            epoch, position = epoch + 1, 0
            history["loss"].append(sum(losses) / len(losses))
            losses.clear()
            #? metrics
            for name, value in measure(recent).items():
                history[name].append(value)
            recent.clear()
            #?
            val_loss = None  #? watches not share
            #? not share
            if val is not None:
                $validation
            #?
            #? share
            $validation
            #?
            $after_epoch

    #? restores_end
    #? restores_if
    if best_weights and early_stopping:
        model.load_state_dict(best_weights)
    #?
    #? not restores_if
    if best_weights:
        model.load_state_dict(best_weights)
    #?
    #?
    return dict(history)
'''

VALIDATION = """\
val_loss = evaluate(model, val$evaluation_arguments)  #? not metrics
#? metrics
val_loss, results = evaluate(model, val$evaluation_arguments)
#?
history["val_loss"].append(val_loss)
#? metrics
for name, value in measure(results).items():
    history["val_" + name].append(value)
#?
#? patience
#? min_delta
if val_loss < bar - $min_delta:
    bar, waited = val_loss, 0
else:
    waited += 1
#?
#?
#? best
if val_loss < best_loss:
    best_loss = val_loss
    best_weights = copy.deepcopy(model.state_dict())
    #? patience
    waited = 0  #? not min_delta
    #?
#? patience not min_delta
else:
    waited += 1
#?
#?
"""
