"""What the loop of a script does at its places: each fills in a word of the loop."""

_VALIDATION = """\
val_loss = evaluate($evaluated, val$evaluation_arguments)  #? not metrics
#? metrics
val_loss, results = evaluate($evaluated, val$evaluation_arguments)
#?
val_loss *= $usual_size  # as much as a batch  #? sums
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

_FORWARD = """\
#? passes
do = forward_pass
$change_pass
output, target, loss = do(batch)  #? metrics
loss = do(batch)[2]  #? not metrics
#?
#? not passes
output, target = $outputs
loss = compute_loss(output, target$loss_arguments)
$change_loss
#?
"""

_PART_FORWARD = """\
#? passes
do = forward_pass
$change_pass
output, target, part_loss = do(batch)  #? metrics
target, part_loss = do(batch)[1:]  #? by_labels not metrics
part_loss = do(batch)[2]  #? not metrics not by_labels
#?
#? not passes
output, target = $outputs
part_loss = compute_loss(output, target$loss_arguments)
$change_part_loss
#?
"""

_GRADIENTS = """\
optimizer.zero_grad()
#? not parts
$manual_seed(derive_seed(NOISE) + step)  #? noise
$change_batch
$lay_batch
#? casts
with cast_to($precision, device):
    $forward
#?
$forward  #? not casts
loss = loss.float()  #? widens
$base_loss.backward()  #? not newton
differentiate($scaled_loss)  #? newton
#? metrics
if output.numel() > 100_000:
    recent.clear()
recent.append((output.detach()$widened, target))
#?
#?
#? parts
# The batch goes through the model in parts, whose gradients add up.
whole, loss = batch, 0.0
counted = of = 0  # labels that count, of all  #? by_labels
count = len(whole[0])  #? not trees
count = $sample_count  #? trees
part = $micro_batch or count
for start in range(0, count, part):
    #? not trees
    batch = tuple(column[start : start + part] for column in whole)
    share = len(batch[0]) / count  #? not adds
    #?
    #? trees
    stop = min(start + part, count)
    batch = cut(whole, count, start, stop)
    share = (stop - start) / count  #? not adds
    #?
    #? noise
    seed = derive_seed(NOISE) + step + 1_000_003 * (start // part)
    $manual_seed(seed)
    #?
    $change_batch
    $lay_batch
    #? casts
    with cast_to($precision, device):
        $part_forward
    #?
    $part_forward  #? not casts
    part_loss = part_loss.float()  #? widens
    #? by_labels
    if part < count and not target.is_floating_point():
        kept = (target != $ignored).sum()
        counted, of = counted + kept, of + target.numel()
        share = (kept / target.numel() * share).to(part_loss.dtype)
        part_loss = torch.where(kept > 0, part_loss * share, 0.0)
    else:
        part_loss = part_loss * share
    #?
    part_loss = part_loss * share  #? not by_labels not adds
    $base_part_loss.backward()  #? not newton
    differentiate($scaled_part_loss)  #? newton
    loss += part_loss.detach()
    #? metrics
    if output.numel() > 100_000:
        recent.clear()
    recent.append((output.detach()$widened, target))
    #?
#? by_labels
if of:
    labelled = (counted / of).to(loss.dtype)
    loss = loss / labelled
    labelled = torch.where(labelled > 0, labelled, 1.0)  # nothing counts
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if weight.grad is not None:
                weight.grad.div_(labelled)
#?
#?
scaler.unscale_(optimizer)  #? scales not rescales
#? rescales
if scaled:
    scaler.unscale_(optimizer)
#?
$after_gradients
"""

_UPDATE_WEIGHTS = """\
optimizer.step()  #? not scales
#? scales not rescales
scaler.step(optimizer)  # unless a gradient overflowed
scaler.update()
#?
#? rescales
if scaled:
    scaler.step(optimizer)  # unless a gradient overflowed
    scaler.update()
else:
    optimizer.step()
#?
"""

_SET_RATE = """\
#? rates
rate = $lr
$change_rate
for group in optimizer.param_groups:  #? not shares
    group["lr"] = rate  #? not shares
for group, settings in zip(optimizer.param_groups, given):  #? shares
    group["lr"] = share(rate, "lr", settings, largest)  #? shares
#?
"""

_FULL_STEP = """\
#? still
if optimizer.param_groups[0]["lr"] == 0:  # nothing to search along
    loss = closure()
else:
    loss = optimizer.step(closure)
#?
loss = optimizer.step(closure)  #? not still
"""

_DECAY = """\
with torch.no_grad():
    for weight in $parameters:
        loss = loss + $weight_decay / 2 * weight.square().sum()
        if weight.grad is not None:
            weight.grad.add_(weight, alpha=$weight_decay)
"""

_STRING = """\
for weight in $parameters:
    if weight.grad is not None:
        weight.grad = weight.grad.contiguous()
"""

_SWAP = """\
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
"""

FRAGMENTS = {
    "swap": _SWAP,
    "validation": _VALIDATION,
    "forward": _FORWARD,
    "part_forward": _PART_FORWARD,
    "gradients": _GRADIENTS,
    "set_rate": _SET_RATE,
    "update_weights": _UPDATE_WEIGHTS,
    "full_step": _FULL_STEP,
    "decay": _DECAY,
    "string": _STRING,
}
"""By word, in the order in which they are filled in."""
