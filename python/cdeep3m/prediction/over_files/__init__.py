"""The original's stages over files, for engines that call Caffe's own tools."""
