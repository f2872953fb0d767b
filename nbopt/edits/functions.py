"""Torch's functions, by what they do to units; under their names without underscores before and after."""

UNITWISE = frozenset(
    "relu relu6 gelu tanh sigmoid silu elu selu celu leaky_relu hardtanh hardswish hardsigmoid hardshrink softshrink "
    "softplus softsign mish log_sigmoid logsigmoid tanhshrink threshold rrelu dropout dropout1d dropout2d dropout3d "
    "feature_dropout alpha_dropout feature_alpha_dropout mul add sub div true_divide truediv floor_divide neg pow "
    "square sqrt rsqrt reciprocal abs exp expm1 log log1p sin cos erf sign clamp clamp_min clamp_max clip round floor "
    "ceil contiguous clone detach to float double half bfloat16 type_as type cpu cuda iadd isub imul itruediv idiv "
    "radd rsub rmul rdiv rtruediv rpow lerp addcmul addcdiv where maximum minimum masked_fill fill zero nan_to_num "
    "eq ne gt ge lt le logical_not logical_and logical_or isnan isfinite isinf requires_grad data real copy "
    "multiply subtract divide absolute negative square_ bernoulli".split()
)
"""Of each number alone, or of those at the same place in several tensors."""

MOVING = frozenset(
    "view reshape flatten unflatten squeeze unsqueeze permute transpose swapaxes swapdims movedim moveaxis t T mT "
    "adjoint expand expand_as view_as reshape_as repeat tile repeat_interleave cat concat concatenate stack hstack "
    "vstack dstack chunk split split_with_sizes tensor_split unbind getitem select narrow index_select flip roll "
    "channel_shuffle native_channel_shuffle diagonal as_strided ravel".split()
)
"""Numbers only come to stand elsewhere, or several times."""

LOCAL = frozenset(
    "max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices "
    "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d "
    "adaptive_max_pool2d adaptive_max_pool3d adaptive_max_pool1d_with_indices adaptive_max_pool2d_with_indices "
    "adaptive_max_pool3d_with_indices lp_pool1d lp_pool2d interpolate upsample pad instance_norm "
    "upsample_nearest upsample_bilinear constant_pad_nd".split()
)
"""Of neighbours, in the dimensions that have places; units stay apart."""

REDUCING = frozenset("mean sum amax amin max min var std logsumexp prod norm nanmean any all argmax argmin".split())
"""Of all numbers along some dimensions."""

SPREADING = frozenset("softmax log_softmax softmin cumsum cumprod normalize sort".split())
"""Of all numbers along some dimensions, which stay."""

READS = frozenset(
    "get size dim ndim stride numel nelement shape dtype device is_floating_point is_complex is_cuda is_leaf layout "
    "element_size storage_offset requires_grad grad_fn len is_contiguous ndimension is_sparse is_quantized names "
    "is_nested data_ptr format repr str hash version".split()
)
"""They tell of a tensor, not of its numbers."""
