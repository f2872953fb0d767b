"""The first part of a script: all that stands before the loop. `nbopt.export.template` tells what the marks mean."""

FUNCTIONS = '''\
"""$title

    history = train(model, train=(X, y), val=(X_val, y_val)$called_with)  #? pair
    history = train(model, train=data, val=val_data$called_with)  #? not pair not loaders
    history = train(model, train=loader, val=val_loader$called_with)  #? loaders

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
ORDER = 0  #? begins
NOISE = 1  #? noise
SPLIT = 2  #? share
EVALUATION = 3  #? seeds_evaluation
INITIALIZATION = 4  #? initializes
#?


#? seeds
def derive_seed(stream, index=0):
    """Return the seed number ``index`` of a stream."""
    state = np.random.SeedSequence([SEED, stream, index]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


#?
#? seeds_all
def seed_all(seed):
    """Seed whatever the data, the model or the loss draw from."""
    torch.manual_seed(seed)
    random.seed(seed)  #? draws_python
    np.random.seed([seed % 2**32, seed >> 32])  #? draws_numpy


#?
#? contexts
class Context:
    """What techniques know of the training."""

    def __init__(self, model, device, seed, history):
        self.model, self.device, self.seed = model, device, seed
        self.step, self.progress = 0, 0.0
        self._history = history

    @property
    def named_weights(self):
        """The weights that require a gradient, by name."""
        named = self.model.named_parameters()
        return {name: weight for name, weight in named if weight.requires_grad}

    def measure(self, name, value):
        """Record a value of a technique's own curve."""
        self._history[name].append(float(value))


#?
#? reweights
class Plain(nn.Module):
    """The model on a batch."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, batch):
        return $own_outputs


class Reweighted(nn.Module):
    """The same, with weights that are made of the model's own."""

    def __init__(self, model, change_weights):
        super().__init__()
        self.plain, self.change_weights = Plain(model), change_weights

    def forward(self, batch):
        named = self.plain.model.named_parameters()
        weights = {name: weight for name, weight in named if weight.requires_grad}
        weights = self.change_weights(weights).items()
        weights = {f"model.{name}": weight for name, weight in weights}
        return torch.func.functional_call(self.plain, weights, (batch,))


#?
#? wraps
def as_loader(data):
    """Return a DataLoader of what may be a Dataset."""
    return data if isinstance(data, DataLoader) else DataLoader(data)  #? plain
    #? gathered
    if isinstance(data, DataLoader):
        return data
    return DataLoader(Gathered(data), collate_fn=Gathered.collate)
    #?
    #? batched
    if isinstance(data, DataLoader):
        return data
    return DataLoader(data, batch_size=$stream_size)
    #?


#?
#? moves
def to_device(batch, device):
    """Return a batch on ``device``: its tensors, and what else has a method ``to``."""
    if hasattr(batch, "to"):
        moved = batch.to(device)
        return batch if moved is None else moved
    if isinstance(batch, (tuple, list)):
        items = [to_device(item, device) for item in batch]
        return type(batch)(*items) if hasattr(batch, "_fields") else type(batch)(items)
    if isinstance(batch, MutableMapping):
        batch = copy.copy(batch)
        for key, item in batch.items():
            batch[key] = to_device(item, device)
    elif dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        batch = copy.copy(batch)
        for name, item in vars(batch).items():
            object.__setattr__(batch, name, to_device(item, device))
    return batch


#?
#? samples
def fetch(loader, indices, seed, device):
    """Return samples as a batch; what they draw follows from ``seed``."""
    $manual_seed(seed)
    samples = [loader.dataset[index] for index in indices]  #? not getitems
    samples = loader.dataset.__getitems__(indices)  #? getitems
    return to_device(loader.collate_fn(samples), device)


#?
#? sampled
def draw_indices(sampler, seed):
    """Yield an epoch's indices, drawn from ``seed`` as they are needed."""
    $manual_seed(seed)
    indices = iter(sampler)
    state = torch.get_rng_state()
    pythons = random.getstate()  #? draws_python
    numpys = np.random.get_state()  #? draws_numpy
    while True:
        torch.set_rng_state(state)
        random.setstate(pythons)  #? draws_python
        np.random.set_state(numpys)  #? draws_numpy
        try:
            index = next(indices)
        except StopIteration:
            return
        state = torch.get_rng_state()
        pythons = random.getstate()  #? draws_python
        numpys = np.random.get_state()  #? draws_numpy
        yield index


#?
#? streams
def stream(loader, seed, device):
    """Yield the batches of an epoch; what each draws follows from ``seed``."""
    $manual_seed(seed)
    batches = iter(loader)
    while True:
        seed += 1
        $manual_seed(seed)
        try:
            batch = next(batches)
        except StopIteration:
            return
        yield to_device(batch, device)


#?
#? loaders_of_tensors
def columns_of(data):
    """Return the columns of a TensorDataset, of a DataLoader of one, or as given."""
    return getattr(getattr(data, "dataset", data), "tensors", data)


#?
#? tensors
def as_tensors(columns, device):
    """Return tensors of arrays or tensors, of the types that the run had."""
    tensors = []
    for values, dtype in zip(columns, DTYPES):
        if not isinstance(values, torch.Tensor):
            values = torch.from_numpy(np.array(values))
        tensors.append(values.detach().to(device, dtype))
    return tensors


#?
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
        return (output.argmax(1) == labels)[labels != -100].float().mean()
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
    """Coefficient of determination, the mean over the numbers of a sample."""
    output, target = as_columns(output, target)
    missed = ((target - output) ** 2).sum(0)
    spread = ((target - target.mean(0)) ** 2).sum(0)
    return torch.where(spread > 0, 1 - missed / spread, (missed == 0).double()).mean()


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
#? sizes
def size_of(target, batch):
    """Return how many targets a batch has; samples, where targets are no tensor."""
    if isinstance(target, torch.Tensor) and target.ndim:
        return len(target)
    return sample_count(batch)


#?
#? counts_labels
def count_labels(target):
    """Return how many labels count in the loss."""
    if target.is_floating_point():
        return len(target)
    counts = target != $ignored
    return int(counts.sum())  #? not class_weights
    #? class_weights
    weights = torch.tensor($class_weights, device=target.device)
    return float((weights[torch.where(counts, target, 0)].double() * counts).sum())
    #?


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
@torch.no_grad()  #? not graph
def evaluate(model, data$evaluation_parameters):
    """Return the mean loss of the samples in ``data``."""  #? not metrics
    """Return the mean loss of the samples in ``data``, and each (output, target)."""  #? metrics
    device = next(model.parameters()).device  #? placed
    training = model.training  #? not modes
    modes = [(module, module.training) for module in model.modules()]  #? modes
    model.eval()
    total = 0.0
    count = 0
    results = []  #? metrics
    seed = derive_seed(EVALUATION)  #? seeds_order
    #? val_tensors
    #? val_shuffled
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(data[0]), generator=generator).to(data[0].device)
    data = [column[order] for column in data]
    #?
    #? val_drops
    kept = len(data[0]) // EVALUATION_BATCH * EVALUATION_BATCH
    data = [column[:kept] for column in data]
    #?
    for start in range(0, len(data[0]), EVALUATION_BATCH):
        batch = tuple(column[start : start + EVALUATION_BATCH] for column in data)
        $manual_seed(derive_seed(EVALUATION) + start // EVALUATION_BATCH)  #? noisy_evaluation
    #?
    #? val_samples
    #? val_sampled
    $manual_seed(seed)
    order = list(data.sampler)
    #?
    #? val_shuffled
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(data.dataset), generator=generator).tolist()
    #?
    order = list(range(len(data.dataset)))  #? not val_sampled not val_shuffled
    order = order[: len(order) // EVALUATION_BATCH * EVALUATION_BATCH]  #? val_drops
    for start in range(0, len(order), EVALUATION_BATCH):
        indices = order[start : start + EVALUATION_BATCH]
        batch = fetch(data, indices, seed + start, device)
        $manual_seed(derive_seed(EVALUATION) + start // EVALUATION_BATCH)  #? noisy_evaluation
    #?
    #? val_stream
    batches = stream(data, derive_seed(EVALUATION), device)
    for index, batch in enumerate(batches):  #? noisy_evaluation
    for batch in batches:  #? not noisy_evaluation
        $manual_seed(derive_seed(EVALUATION) + index)  #? noisy_evaluation
    #?
        size = len(batch[0])  #? val_tensors not counts
        $change_inputs
        $lay_batch
        #? casts
        with cast_to($precision, device):
            output, target = $evaluated_outputs
            loss = compute_loss(output, target$measure_arguments)
        #?
        #? not casts
        output, target = $evaluated_outputs
        loss = compute_loss(output, target$measure_arguments)
        #?
        #? counts
        size = $counted
        if size:
            total += loss.item() * size
            count += size
        #?
        #? not counts
        size = size_of(target, batch)  #? not val_tensors not sums
        size = sample_count(batch)  #? not val_tensors sums
        total += loss.item()  #? sums
        total += loss.item() * size  #? not sums
        count += size
        #?
        results.append((output$widened, target))  #? metrics not graph
        results.append((output.detach()$widened, target))  #? metrics graph
    model.train(training)  #? not modes
    #? modes
    for module, training in modes:
        module.training = training
    #?
    return total / count  #? not metrics
    return total / count, results  #? metrics


#? shares
def share(value, name, given, largest):
    """Return a value in a parameter group: rates keep their proportions."""
    if value == largest.get(name):
        return given[name]
    return value * (given[name] / largest[name]) if largest.get(name) else value


#?
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
