from __future__ import annotations

from cdeep3m.proto.prototxt import input_shapes, read_net


def test_a_net_may_declare_its_input_as_a_layer(tmp_path):
    path = tmp_path / "deploy.prototxt"
    path.write_text(
        'layer { name: "d" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 32 dim: 48 } } }'
    )
    assert input_shapes(read_net(path)) == {"data": (1, 1, 32, 48)}
