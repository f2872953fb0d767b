"""The first part of a script: all that stands before the loop. `nbopt.record.template` tells what the marks mean."""

FUNCTIONS = '''\
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
INITIALIZATION = 4  #? initializes
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
    target = target.reshape(output.shape).to(output.dtype)  #? elementwise not casts
    target = target.reshape(output.shape).float()  #? elementwise casts
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
    device = next(model.parameters()).device  #? casts
    training = model.training
    model.eval()
    total = 0.0
    results = []  #? metrics
    for start in range(0, len(data[0]), EVALUATION_BATCH):
        batch = tuple(column[start : start + EVALUATION_BATCH] for column in data)
        torch.manual_seed(derive_seed(EVALUATION) + start // EVALUATION_BATCH)  #? noisy_evaluation
        $change_inputs
        $lay_batch
        #? casts
        with cast_to($precision, device):
            output, target = $outputs
            loss = compute_loss(output, target$measure_arguments)
        #?
        #? not casts
        output, target = $outputs
        loss = compute_loss(output, target$measure_arguments)
        #?
        total += loss.item() * len(batch[0])
        results.append((output$widened, target))  #? metrics
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
'''
