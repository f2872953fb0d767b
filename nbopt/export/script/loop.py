"""The second part of a script: the loop. `nbopt.export.template` tells what the marks mean."""

LOOP = '''\
def train(model, train, val=None$arguments):
    """Train ``model``; return the values of every metric, one for each epoch.  #? not validates_steps
    """Train ``model``; return the values of every metric, one for each validation.  #? validates_steps

    #? pair
    ``train`` and ``val`` are pairs (X, y) of arrays or tensors.
    #?
    #? single
    ``train`` and ``val`` are arrays or tensors.
    #?
    #? columns
    ``train`` and ``val`` are tuples of arrays or tensors.
    #?
    #? loaders
    ``train``, and ``val`` if there is one, are of the kinds that the run had:
    $given_data.
    #?
    #? share
    Without ``val``, a part of ``train`` is set aside for it.
    #?
    $told_arguments
    """
    device = next(model.parameters()).device
    $take_arguments
    #? initializes
    draw_weights(model, $draw, $initial_gain, derive_seed(INITIALIZATION))
    #?
    #? train_tensors
    data = as_tensors($train_columns, device)
    #?
    train = as_loader(train)  #? wraps_train
    #? share
    if val is None:
        rows, val_rows = train_test_split(
            range(len(data[0])),  #? train_tensors
            range(len(train.dataset)),  #? train_samples
            test_size=VAL_SHARE,
            random_state=derive_seed(SPLIT) % 2**32,
            stratify=data[-1].cpu().numpy(),  #? stratified train_tensors
            stratify=$labels,  #? stratified train_samples
        )
        #? train_tensors
        val = [column[val_rows] for column in data]
        data = [column[rows] for column in data]
        #?
        #? train_samples
        dataset, collate = train.dataset, train.collate_fn
        val = DataLoader(Subset(dataset, val_rows), collate_fn=collate)
        train = DataLoader(Subset(dataset, rows), collate_fn=collate)
        #?
    else:
        $val_as_given
    #?
    #? not share
    if val is not None:  #? prepares_val
        $val_as_given
    #?
    size = len(data[0])  #? train_tensors
    size = len(train.dataset)  #? train_samples not sampled
    length = len(train)  #? counts_batches progresses
    $starting_values

    parameters = [p for p in model.parameters() if p.requires_grad]  #? listed not regroups
    $groups
    $optimizer
    #? regroups
    held = {p for g in optimizer.param_groups for p in g["params"]}
    parameters = [p for p in model.parameters() if p in held]
    #?
    #? shares
    given = [dict(group) for group in optimizer.param_groups]
    rates = [key for key in ("lr", "weight_decay") if key in given[0]]
    largest = {key: max(group[key] for group in given) for key in rates}
    #?
    lay_out(model, optimizer, $channels_last)  #? lays
    model.to(memory_format=torch.contiguous_format)  #? contiguous
    scaler = torch.amp.GradScaler(device.type)  #? scales
    history = defaultdict(list)  #? contexts
    context = Context(model, device, $seed, history)  #? contexts
    $make_parts
    $fit_parts
    #? reweights

    def change_weights(weights):
        """Return what the model computes with."""
        $change_weights
        return weights

    reweighted = Reweighted(model, change_weights)
    #?
    set_dropout(model, DROPOUT)  #? starting_dropout
    if not model.training:  #? not modes
        model.train()  #? not modes

    history = defaultdict(list)  #? not contexts
    losses = []
    recent = deque(maxlen=16)  # what the training metrics are measured on  #? metrics
    best_loss, best_weights = float("inf"), {}  #? best
    waited = 0  # validations since the loss was last better  #? patience
    bar = float("inf")  # the loss when it was  #? min_delta
    epoch = position = 0  #? not train_stream
    #? train_stream
    epoch = 0
    upcoming = None  # the batch that comes next, if the epoch has one
    #?

    #? balances
    scales = [0.0] * $term_count  # log variances of the loss's terms
    seen = []  # the terms of the present step
    #?

    #? loses
    def lose(output, target):
        """Return what the loss of the step's samples would be."""
        return compute_loss(output, target$loss_arguments)

    #?
    #? passes
    def forward_pass(batch):
        """Return outputs, targets and loss of what the model gets."""
        output, target = $outputs
        loss = compute_loss(output, target$loss_arguments)
        $change_loss
        return output, target, loss

    #?
    #? full
    def closure($closure_arguments):
        """Return the loss of the step's samples; leave its gradients in the weights."""
        batch = samples
        $gradients
        #? strings
        #? not only_lbfgs
        if isinstance(optimizer, torch.optim.LBFGS):
            $string
        #?
        $string  #? only_lbfgs
        #?
        #? decays
        #? not only_lbfgs
        if isinstance(optimizer, torch.optim.LBFGS):
            $decay
        #?
        $decay  #? only_lbfgs
        #?
        return loss.detach()

    #?
    for step in itertools.count():  #? own_end
    for step in range(STEPS_DONE):  #? not own_end
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
        $swap
        #? optimizer_changes
        #? not shares
        for group in optimizer.param_groups:
            group.update({name: new for name, new in changes.items() if name in group})
        #?
        #? shares
        for group, settings in zip(optimizer.param_groups, given):
            for name in group.keys() & changes.keys():
                group[name] = share(changes[name], name, settings, largest)
        #?
        #?
        #? trims
        if "history_size" in changes:  # the oldest are forgotten
            for state in optimizer.state.values():
                state.pop("al", None)
                for key in {"old_dirs", "old_stps", "ro"} & state.keys():
                    state[key] = state[key][-changes["history_size"] :]
        #?
        #? late_momentum
        if changes.get("momentum"):
            for state in optimizer.state.values():
                if "square_avg" in state and "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(state["square_avg"])
        #?
        #? relays
        if "channels_last" in changes:
            lay_out(model, optimizer, channels_last)
        #?

        #?
        #? own_end
        if $over:
            break
        #? patience
        if $out_of_patience:
            break
        #?
        #?

        #? begins
        if position == 0:  # an epoch begins, in an order of its own  #? shuffle
        if position == 0:  # an epoch begins  #? not shuffle not train_stream
        if upcoming is None:  # an epoch begins  #? train_stream
            epoch_seed = derive_seed(ORDER, epoch)  #? train_samples
            #? tells_epoch
            for part in hear_epochs(train):
                part.set_epoch(epoch)
            #?
            #? permutes
            generator = torch.Generator().manual_seed(derive_seed(ORDER, epoch))  #? train_tensors
            generator = torch.Generator().manual_seed(epoch_seed)  #? train_samples
            order = torch.randperm(size, generator=generator).to(device)  #? train_tensors
            order = torch.randperm(size, generator=generator).tolist()  #? train_samples
            shuffled = [column[order] for column in data]  #? train_tensors
            #?
            #? seeds_workers
            torch.empty((), dtype=torch.int64).random_(generator=train.generator)  # as the loader does
            #?
            #? ordered
            order = torch.tensor(list(train.sampler)).to(device)
            shuffled = [column[order] for column in data]
            #?
            #? sampled
            draws, order = draw_indices(train.sampler, epoch_seed), []
            size = len(train.sampler)  #? counts_samples
            #?
            #? train_stream
            batches = stream(train, derive_seed(ORDER, epoch), device)
            upcoming = next(batches)
            used = 0  #? counts_batches progresses
            #?
        #?
        uncertain = (scales, seen) if $balance == "uncertainty" else ()  #? rebalances
        scaled = $precision == "float16"  #? rescales
        progress = epoch + position / size  #? progresses not train_stream
        progress = epoch + min(1.0, used / length)  #? counts_batches progresses
        progress = epoch  #? progresses train_stream not counts_batches
        done = $done  #? progresses
        context.step, context.progress = step, done  #? contexts
        full = isinstance(optimizer, $full_classes)  #? mixed
        #? not train_stream
        end = position + $batch_size  #? not whole
        end = size  #? whole not mixed train_samples
        end = size if full else position + $batch_size  #? mixed whole
        #? leaves_two
        order += itertools.islice(draws, max(0, end - position + 2 - len(order)))  #? sampled
        left = position + len(order) - end  #? sampled
        if left == 1 and $batch_size > 2 and position % $batch_size:  #? sampled
        if size - end == 1 and $batch_size > 2 and position % $batch_size:  #? not sampled
            end -= 1  # no sample is left alone by a change of the batch size
        #?
        #?
        #? train_samples
        #? sampled
        order += itertools.islice(draws, max(0, end - position - len(order)))
        indices, order = order[: end - position], order[end - position :]
        #?
        indices = order[position:end]  #? permutes
        indices = list(range(position, min(end, size)))  #? not shuffle
        batch = fetch(train, indices, epoch_seed + position, device)
        position += len(indices)
        #?
        batch = upcoming  #? train_stream
        samples = batch  #? full not train_tensors
        #? train_tensors
        batch = tuple(column[position:end] for column in $dealt)  #? not full
        samples = tuple($dealt)  #? whole not mixed
        samples = tuple(column[position:end] for column in $dealt)  #? full not whole
        samples = tuple(column[position:end] for column in $dealt)  #? mixed whole
        position += len(batch[0])  #? not full
        position += len(samples[0])  #? full
        #?

        #? not full
        $gradients
        $set_rate
        $update_weights
        #?
        #? full not mixed
        $set_rate
        $full_step
        #?
        #? mixed
        if full:
            $set_rate
            $full_step
        else:
            loss = closure()
            $set_rate
            $update_weights
        #?
        $after_step
        #? balances
        if seen:
            weights = [
                $term_weights
            ]
            scales = move_scales(scales, seen, weights, $balance_rate)
            seen.clear()
        #?
        losses.append(loss.item())

        #? not train_stream
        larger = max($batch_size, SCHEDULE.get(step + 1, {}).get("batch_size", 0))  #? drops_varying
        #? sampled
        ahead = larger  #? drops_varying
        ahead = $batch_size  #? drops not drops_varying
        ahead = 1  #? not drops
        order += itertools.islice(draws, max(0, ahead - len(order)))
        if len(order) < ahead:  # too few are left for a batch: the epoch is complete  #? not leaves_out
        if len(order) < ahead or "leave_out" in SCHEDULE.get(step + 1, {}):  # the epoch is complete  #? leaves_out
        #?
        #? not sampled
        if position + larger > size:  # what is left is dropped: the epoch is complete  #? drops_varying
        if position + $batch_size > size:  # what is left is dropped: the epoch is complete  #? drops not drops_varying
        if position == size or "leave_out" in SCHEDULE.get(step + 1, {}):  # the epoch is complete  #? leaves_out
        if position == size:  # the epoch is complete  #? not drops not leaves_out
        #?
            epoch, position = epoch + 1, 0
        #?
        #? train_stream
        upcoming = next(batches, None)
        used += 1  #? counts_batches progresses
        if upcoming is None:  # the epoch is complete
            epoch += 1
        #?
        due = $due  #? validates_steps
        over = $over_now  #? validates_steps
        if due or over:  #? validates_steps
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
            #? contexts watches
            progress = epoch + position / size  #? not train_stream
            progress = epoch  #? train_stream not counts_batches
            #? counts_batches
            progress = epoch if upcoming is None else epoch + min(1.0, used / length)
            #?
            context.progress = $done_after
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
