from __future__ import annotations

import logging

import pytest
from google.protobuf import text_format

from cdeep3m.proto import prototxt
from cdeep3m.proto.caffe_pb2 import NetParameter
from cdeep3m.proto.unknown import UnknownField, unknown_fields

PLAIN = """\
name: "n"
layer {
  name: "a"
  type: "Convolution"
  convolution_param { num_output: 2 kernel_size: [3, 1] weight_filler < type: "xavier" > }
}
"""

ANNOTATED = """\
# a net of another fork
name: "n"; level_of_detail: 3
layer {
  name: "a"  notes { text: "it's" ' "new" {' low: -inf pairs: [{ a: 1 }, { b: -2 }] more < f: 1e-3 > }
  type: "Convolution"
  forward_type: FLOAT16, param { owner: "x" }
  convolution_param { num_output: 2 kernel_size: [3, 1] weight_filler < type: "xavier" > }
  tile_param { tiles: 2 }
}
"""


def fields(text: str) -> list[UnknownField]:
    return list(unknown_fields(text, NetParameter.DESCRIPTOR))


def test_what_is_known_is_not_reported():
    assert fields(PLAIN) == []


def test_unknown_fields_are_found_where_they_stand():
    assert [(field.line, field.name, field.message) for field in fields(ANNOTATED)] == [
        (2, "level_of_detail", "NetParameter"),
        (4, "notes", "LayerParameter"),
        (6, "forward_type", "LayerParameter"),
        (6, "owner", "ParamSpec"),
        (8, "tiles", "TileParameter"),
    ]
    assert all(field.harmless for field in fields(ANNOTATED))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("layer { pooling_param { round_mode: FLOOR } }", ""),
        ("layer { batch_norm_parm { eps: 1 } }", "batch_norm_param"),
        ("input_shapes { dim: 1 }", "input_shape"),
    ],
)
def test_a_setting_of_a_layer_and_a_misspelt_name_are_not_harmless(text, meant):
    (field,) = fields(text)
    assert not field.harmless
    assert field.meant == meant


def test_a_net_with_annotations_is_the_net_without_them_and_a_warning_says_so_once(tmp_path, caplog):
    (tmp_path / "plain.prototxt").write_text(PLAIN)
    annotated = tmp_path / "annotated.prototxt"
    annotated.write_text(ANNOTATED)
    with caplog.at_level(logging.WARNING):
        net, again = prototxt.read_net(annotated), prototxt.read_net(annotated)
    plain = prototxt.read_net(tmp_path / "plain.prototxt")
    plain.layer[0].param.add()
    plain.layer[0].tile_param.SetInParent()
    assert net == again == plain
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{annotated}: fields that are not known here are left out: level_of_detail (line 2), notes (line 4), "
        "forward_type (line 6), owner (line 6), tiles (line 8)"
    )


@pytest.mark.parametrize("text", ['layer { name: "a" ', "layer { name: }", 'layer { a: "x', "}", "layer { a: [1 }"])
def test_broken_text_is_an_error_and_no_endless_search(text):
    with pytest.raises(text_format.ParseError):
        fields(text)
