"""Write the networks' .prototxt files: `python -m cdeep3m.nets [FOLDER]`; FOLDER is caffe_models unless given."""

import sys
from importlib.resources import files
from pathlib import Path

from cdeep3m.nets.prototxts import write_all

if __name__ == "__main__":
    write_all(Path(sys.argv[1] if len(sys.argv) > 1 else str(files("cdeep3m.caffe_models"))))
