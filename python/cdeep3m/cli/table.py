"""The one table of commands: every name that is a program, and the module that runs it."""

from __future__ import annotations

OCTAVE = {
    "PreprocessTrainingData": "preprocess_training_data",
    "PreprocessTraining": "preprocess_training_data",
    "PreprocessValidation": "preprocess_validation",
    "CreateTrainJob": "create_train_job",
    "PreprocessImageData": "preprocess_image_data",
    "DefDataPackages": "def_data_packages",
    "PreprocessPackage": "preprocess_package",
    "StartPostprocessing": "start_postprocessing",
    "Merge_LargeData": "merge_large_data",
    "EnsemblePredictions": "ensemble_predictions",
    "Histmatch": "histmatch",
    "SNEMI3D_metrics": "snemi3d_metrics",
    "Apply3DWatershed": "apply_3d_watershed",
    "PlotValidation": "plot_validation",
}
"""The original's Octave commands: each also exists with .m and with .py."""

OTHERS = {
    "cdeep3m": "main",
    "runtraining.sh": "runtraining",
    "trainworker.sh": "trainworker",
    "caffetrain.sh": "caffetrain",
    "runvalidation.sh": "runvalidation",
    "runprediction.sh": "runprediction",
    "caffepredict.sh": "caffepredict",
    "preprocessworker.sh": "preprocessworker",
    "predictworker.sh": "predictworker",
    "postprocessworker.sh": "postprocessworker",
    "caffe": "caffe",
    "caffe.bin": "caffe",
    "predict_seg_new.bin": "predict_seg_new",
    "overlay.py": "overlay",
    "enhance_stack": "enhance_stack",
    "enhance_stack.py": "enhance_stack",
    "Create_overlays": "create_overlays",
    "Create_overlays.py": "create_overlays",
    "augconfig.py": "augconfig",
    "rundemo": "rundemo",
    "rundemo2": "rundemo2",
}
"""The shell commands of the original and of its second edition, Caffe's own tools, and one name for everything."""

COMMANDS = {
    **OTHERS,
    **{f"{name}{suffix}": module for name, module in OCTAVE.items() for suffix in ("", ".m", ".py")},
}
"""Module of `cdeep3m.cli` for every name; its `main(argv)` returns the exit status."""
