"""What stands in several places of `nbopt.export.script.template`, or in the middle of it: a ``$word`` each."""

SETUP = """\
$made
if run.splits:
    if val is None:
        rows, val_rows = train_test_split(
            range($size),
            test_size=VAL_SHARE,
            random_state=derive_seed(SEED, SPLIT) % 2**32,
            $stratify
        )
        if run.of_columns:
            val = [column[val_rows] for column in data]
            data = [column[rows] for column in data]
        else:
            dataset, collate = train.dataset, train.collate_fn
            val = DataLoader(Subset(dataset, val_rows), collate_fn=collate)
            train = DataLoader(Subset(dataset, rows), collate_fn=collate)
    else:
        val = $given_val
if run.splits or val is not None:
    val = $dealt_val
batches = $dealt
"""

RUN_PASSES = '''\
$no_graph
def run_passes():
    """Do the epoch's first batches as in a step, up to 4,096 samples."""
    if batches.position == 0:
        $begin_epoch
    first = copy.copy(batches)
    if run.draws:
        seed_all(derive_seed(SEED, NOISE) + step)
    for start in range(0, min(batches.size, 4096), $usual):
        first.position = start
        batch = structure(*first.take($usual)) if run.structured else first.take($usual)
        if start and first.position - start < 2:
            break  # batch normalization cannot train on one sample
        if run.change_inputs:
            $inputs
        $shape_batch
        with cast_to(hyper.precision, device):
            $call(model, batch)
'''

RATE = """\
rate = hyper.lr
$change_rate
if run.shares_out:
    for group, settings in zip(optimizer.param_groups, given):
        group["lr"] = share_out(rate, "lr", settings, shown)
else:
    for group in optimizer.param_groups:
        group["lr"] = rate
"""

FORWARD = """\
if run.reweights:
    output, target = reweighted(batch)
else:
    output, target = $outputs
loss = compute_loss(output, target$training$latest)
$change_loss
"""

GRADIENTS = """\
optimizer.zero_grad()
evaluations.append({})
$passes
if scaled:
    scaler.unscale_(optimizer)
$after_gradients
"""

PASSES = "$pass"

PASS = """\
if run.draws:
    seed_all(derive_seed(SEED, NOISE) + step$part)
if run.change_inputs or run.change_batch:
    x, y = batch[0], batch[1]
    $change_inputs
    $change_batch
    batch = (x, y$rest)
$shape_batch
with cast_to(hyper.precision, device):
    if run.change_pass:
        do = forward_pass
        $change_pass
        $take_pass
    else:
        $forward
if run.widens:
    loss = loss.float()
if run.latest:
    take_note(evaluations[-1], latest$share)
$weigh
if run.differentiate:
    differentiate(scaler.scale(loss) if scaled else loss)
else:
    if scaled:
        scaler.scale(loss).backward()
    else:
        loss.backward()
added += loss.detach()
if $count_outputs > 100_000:
    recent.clear()
recent.append(($kept, target))
"""

VALIDATE = """\
history["loss"].append(sum(losses) / len(losses))
losses.clear()
if run.results:
    for name, value in $measure_all(recent).items():
        history[name].append(value)
recent.clear()
if run.after_epoch and not run.splits:
    val_loss = None
if run.splits or val is not None:
    $val_loss$results = evaluate($model, val$told)
    $as_batch
    $add_up
    history["val_loss"].append(val_loss)
    if run.results:
        for name, value in $measure_all(results).items():
            history["val_" + name].append(value)
    if $judged < bar - hyper.min_delta:
        bar, waited = $judged, 0
    else:
        waited += 1
    if $judged < best_loss:
        best_loss = $judged
        best_weights = copy.deepcopy(model.state_dict())
if run.after_epoch:
    reached = $progress
    context.progress = min(1.0, (step + 1) / hyper.steps if hyper.steps else reached / hyper.epochs)
$after_epoch
"""

INPUTS = """\
x = batch[0]
$change_inputs
batch = (x, *batch[1:])
"""

BATCH = "structure(*batches.take($count)) if run.structured else batches.take($count)"

COUNT = "batches.size - batches.position if run.whole and full else $number"

USUAL = "batches.size if run.whole and full else hyper.batch_size"
