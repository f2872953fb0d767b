"""What the loop of a script does at its places: each fills in a word of the loop."""

_VALIDATION = """\
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

_GRADIENTS = """\
optimizer.zero_grad()
#? not parts
torch.manual_seed(derive_seed(NOISE) + step)  #? noise
$change_batch
output, target = $outputs
loss = compute_loss(output, target$loss_arguments)
$change_loss
loss.backward()  #? not newton
differentiate(loss)  #? newton
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
    part_loss = compute_loss(output, target$loss_arguments)
    $change_part_loss
    part_loss = part_loss * share
    part_loss.backward()  #? not newton
    differentiate(part_loss)  #? newton
    loss += part_loss.detach()
    #? metrics
    if output.numel() > 100_000:
        recent.clear()
    recent.append((output.detach(), target))
    #?
#?
$after_gradients
"""

_SET_RATE = """\
#? rates
rate = $lr
$change_rate
for group in optimizer.param_groups:
    group["lr"] = rate
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

FRAGMENTS = {
    "validation": _VALIDATION,
    "gradients": _GRADIENTS,
    "set_rate": _SET_RATE,
    "full_step": _FULL_STEP,
    "decay": _DECAY,
}
"""By word, in the order in which they are filled in."""
