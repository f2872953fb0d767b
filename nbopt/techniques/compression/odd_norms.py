"""Why a batch norm stays where it is, in words."""

from __future__ import annotations

from nbopt.i18n import N_, _

_REASONS = {
    "uncalled": N_("the model's forward does not call it"),
    "no layer": N_("it does not come right behind a linear or convolutional layer"),
    "several calls": N_("it, or the layer before, is called several times"),
    "used elsewhere": N_("what the layer before puts out is used elsewhere, too"),
    "no means": N_("it has no running means"),
    "grouped": N_("the layer before is a transposed convolution in groups"),
    "shared": N_("the weights of the layer before are another layer's, too"),
    "hooked": N_("it, or the layer before, has hooks or makes its weights anew"),
}


def tell_odd(odd: str) -> str:
    """Return what `find_norms` found odd, in words."""
    kind, _space, rest = odd.partition(" ")
    if kind == "untraced":
        return _("the model cannot be followed by torch.fx ({error})", error=rest)
    return _(_REASONS[odd])
