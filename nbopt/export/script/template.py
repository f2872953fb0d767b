"""A script's own functions with all that a run may have used: `nbopt.export.script.prune` leaves out the rest.

=================  ====================================================================================================
``$word``          is filled in: what a section said, or a text of `nbopt.export.script.pieces`
``run.word``       asks whether a section said anything for a word, or that it holds; no script has such a condition
``hyper.name``     is a hyperparameter: a constant of the script, or a variable where it changes; one that is zero all
                   the time is not there, nor what needs it
=================  ====================================================================================================
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
    shown = {**given[0], **{key: max(group[key] for group in given) for key in rates}}
    scaler = torch.amp.GradScaler(device.type)
    history = defaultdict(list)
    context = Context(model, device, SEED, history)
    $techniques
    $fit

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
    reweighted = Reweighted(model, calls if run.change_activations else $call, change_weights)
    $edits
    $begin
    if run.mode_is_one and not model.training:
        model.train()
    if run.train_is_own:  # it leaves modules in evaluation mode
        if not any(module.training for module in model.modules()):
            model.train()
        for module in model.modules():
            if module.training and type(module).train is not torch.nn.Module.train:
                module.train()

    losses = []
    recent = deque(maxlen=16)  # what the training metrics are measured on
    best_loss, best_weights = float("inf"), {}
    waited = 0  # validations since the loss was last better
    bar = float("inf")  # the loss when it was
    scales = [0.0] * $terms  # log variances of the loss's terms
    seen = []  # the terms of the present step
    latest = {}  # the losses of the last pass, output by output
    evaluations = []  # those of the step
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
            if run.inline:
                output = None  # the graph of the last step knows the weights as they were
                loss = None
            for edit in changes["edits"]:
                if best_weights:
                    best_weights = edited(best_weights, edits[edit], model)
                edits[edit](model, optimizer)
                $renew
                $train_again
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
            if run.carries and all(isinstance(one, torch.optim.Adam) for one in both):
                optimizer.state.update(earlier.state)  # the same running means
        if run.changes_settings:
            if run.shares_out:
                for group, settings in zip(optimizer.param_groups, given):
                    for name in changes.keys() & group.keys():
                        group[name] = share_out(changes[name], name, settings, shown)
            else:
                for group in optimizer.param_groups:
                    group.update({name: new for name, new in changes.items() if name in group})
        $optimizer_changed
        $changed

        if run.comes_to_end and (step >= hyper.steps if hyper.steps else epoch >= hyper.epochs):
            break
        if run.waits and hyper.early_stopping and waited >= hyper.patience:
            break

        if batches.position == 0:  # an epoch begins
            $begin_epoch
        uncertain = (scales, seen) if run.balances and hyper.balance == "uncertainty" else ()
        scaled = hyper.precision == "float16"
        progress = $progress
        done = min(1.0, step / hyper.steps if hyper.steps else progress / hyper.epochs)
        context.step, context.progress = step, done
        $before_step
        full = isinstance(optimizer, $full_classes)
        number = leave_none_alone(batches, hyper.batch_size)
        if run.inline:
            batch = $batch
        else:
            samples = $batch

        if full:
            if run.change_rate:
                $rate
            if run.may_rest and optimizer.param_groups[0]["lr"] == 0:  # nothing to search along
                loss = closure()
            else:
                loss = optimizer.step(closure)
        else:
            if run.inline:
                $gradients
            else:
                loss = closure()
            if run.change_rate:
                $rate
            if scaled:
                scaler.step(optimizer)  # unless a gradient overflowed
                scaler.update()
            else:
                optimizer.step()
        $after_step
        if seen:
            term_weights = [
                $term_weights
            ]
            scales = move_scales(scales, seen, term_weights, $balance_rate)
            seen.clear()
        losses.append(loss.item())
        if run.latest:
            for name, value in evaluations[0].items():
                history[name].append(float(value))
        evaluations.clear()

        larger = max(hyper.batch_size, SCHEDULE.get(step + 1, {}).get("batch_size", 0))
        if $complete or "leave_out" in SCHEDULE.get(step + 1, {}):
            epoch, batches.position = epoch + 1, 0  # the epoch is complete
            if not run.by_steps:
                $validate
        if run.by_steps:
            ended = batches.position == 0
            due = (step + 1) % hyper.validate_every == 0 if hyper.validate_every else ended
            over = step + 1 >= hyper.steps if hyper.steps else epoch >= hyper.epochs
            if due or over:
                $validate

    $edit_end
    if run.waits:
        if best_weights and hyper.early_stopping:
            model.load_state_dict(best_weights)
    elif run.ends_best:
        model.load_state_dict(best_weights)
    return dict(history)
'''

EVALUATE = '''\
$no_graph
def evaluate(model, batches$told):
    """Return the mean loss of the samples in ``batches``$outcome."""
    device = next(model.parameters()).device
    if run.mode_is_one:
        training = model.training
    else:
        modes = [(module, module.training) for module in model.modules()]
    model.eval()
    $start
    results = []
    batches.begin($seed)
    while $left:
        seed = derive_seed(SEED, EVALUATION) + $batch_number
        batch = structure(*batches.take($take)) if run.structured else batches.take($take)
        if run.evaluation_draws:
            seed_all(seed)
        if run.change_inputs:
            $inputs
        $shape_batch
        with cast_to(hyper.precision, device):
            if run.reweights:
                output, target = model(batch)
            else:
                output, target = $outputs
            $measure
        $add
        results.append(($measured, target))
    if run.mode_is_one:
        model.train(training)
    else:
        for module, training in modes:
            module.training = training
    return $mean$results
'''
