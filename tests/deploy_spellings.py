"""One net, written in the ways in which people and other editions write a deploy.prototxt."""

from __future__ import annotations

import re

from google.protobuf import text_format

from cdeep3m.proto.caffe_pb2 import TEST, ConvolutionParameter, NetParameter, NetStateRule, PoolingParameter


def plain(net: NetParameter) -> str:
    return text_format.MessageToString(net)


def in_one_line(net: NetParameter) -> str:
    return text_format.MessageToString(net, as_one_line=True)


def by_hand(net: NetParameter) -> str:
    """With comments, another indentation, commas, angle brackets, lists and the line ends of Windows."""
    lines = ["\ufeff# Netz für 3 Ebenen", *plain(net).splitlines()]
    text = "\n".join(f"{line.replace('  ', chr(9))} # layer {{" if line.endswith("{") else line for line in lines)
    text = re.sub(r"(input_shape|reshape_param) {", r"\1: {", text)
    text = re.sub(r"weight_filler \{([^{}]*)\}", r"weight_filler <\1>,", text)
    text = re.sub(r"pad: (\d+)\n\s*pad: (\d+)\n\s*pad: (\d+)", r"pad: [\1, \2, \3];", text)
    return text.replace("\n", "\r\n")


def with_input_dim(net: NetParameter) -> str:
    other = copy_of(net)
    other.input_dim.extend(other.input_shape[0].dim)
    del other.input_shape[:]
    return plain(other)


def with_input_layer(net: NetParameter) -> str:
    other = copy_of(net)
    shape = other.input_shape[0].dim
    layer = f'layer {{ name: "in" type: "Input" top: "data" input_param {{ shape {{ dim: {list(shape)} }} }} }}'
    for field in ("name", "input", "input_shape"):
        other.ClearField(field)
    return f'name: "mine" {layer} {plain(other)}'


def with_another_input_name(net: NetParameter) -> str:
    return plain(net).replace('input: "data"', 'input: "image"').replace('bottom: "data"', 'bottom: "image"')


def with_phases(net: NetParameter) -> str:
    """As a file that serves training, too: rules, phases, and layers that only training has."""
    other = copy_of(net)
    for i, layer in enumerate(other.layer):
        layer.phase = TEST
        if i % 2:
            layer.include.append(NetStateRule(phase=TEST))
    return f"""
        layer {{ name: "data" type: "PatchData" top: "data" top: "label" include {{ phase: TRAIN }} }}
        layer {{ name: "old" type: "Input" top: "old" include {{ phase: TRAIN }} }}
        {plain(other)}
        layer {{
          name: "loss" type: "SoftmaxWithLoss" bottom: "deconv_all_sum" bottom: "label" top: "loss"
          exclude {{ phase: TEST }}
        }}
    """


def with_fields_of_another_fork(net: NetParameter) -> str:
    text = plain(net).replace('type: "BatchNorm"', 'type: "BatchNorm" forward_type: FLOAT16 debug { level: [1, 2] }')
    text = text.replace("lr_mult: 1.0", 'lr_mult: 1.0 owner: "x"')
    return f'edition: "later" default_forward_type: FLOAT {text}'


def with_defaults_spelt_out(net: NetParameter) -> str:
    other = copy_of(net)
    other.force_backward = True
    other.state.phase = TEST
    for layer in other.layer:
        param = layer.convolution_param
        if layer.type == "Convolution" and len(param.kernel_size) == 1:
            kernel, pad, stride = list(param.kernel_size), list(param.pad) or [0], list(param.stride) or [1]
            for name in ("kernel_size", "pad", "stride"):
                param.ClearField(name)
            param.kernel_h = param.kernel_w = kernel[0]
            param.pad_h = param.pad_w = pad[0]
            param.stride_h = param.stride_w = stride[0]
            param.group, param.axis, param.bias_term, param.engine = 1, 1, True, ConvolutionParameter.CAFFE
        if layer.type == "BatchNorm":
            layer.batch_norm_param.eps = 1e-5
            layer.batch_norm_param.use_global_stats = True
        if layer.type == "Concat":
            layer.concat_param.concat_dim = 1
        if layer.type == "Pooling":
            layer.pooling_param.pool = PoolingParameter.MAX
            layer.pooling_param.pad = 0
        if layer.type == "Softmax":
            layer.softmax_param.axis = 1
    return plain(other)


def without_what_only_training_needs(net: NetParameter) -> str:
    other = copy_of(net)
    for layer in other.layer:
        layer.ClearField("param")
        layer.ClearField("phase")
        layer.convolution_param.ClearField("weight_filler")
        layer.convolution_param.ClearField("bias_filler")
        if not layer.convolution_param.num_output:
            layer.ClearField("convolution_param")
    return plain(other)


def with_a_blob_for_every_layer(net: NetParameter) -> str:
    """No layer works in place, and the output has a name of its own."""
    other, now = copy_of(net), {}
    for i, layer in enumerate(other.layer):
        bottoms = [now.get(name, name) for name in layer.bottom]
        tops = [f"blob {i}" for name in layer.top]
        now.update(zip(layer.top, tops, strict=True))
        layer.bottom[:], layer.top[:] = bottoms, tops
    return plain(other)


def copy_of(net: NetParameter) -> NetParameter:
    copy = NetParameter()
    copy.CopyFrom(net)
    return copy


SPELLINGS = (
    *(plain, in_one_line, by_hand, with_input_dim, with_input_layer, with_another_input_name, with_phases),
    *(
        with_fields_of_another_fork,
        with_defaults_spelt_out,
        without_what_only_training_needs,
        with_a_blob_for_every_layer,
    ),
)
