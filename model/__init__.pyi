from .bench.benchmark import run_benchmark as run_benchmark
from .bench.preset import Preset as Preset, load_preset as load_preset
from .calibration.calibrate import calibrate as calibrate
from .calibration.settings import CalibrationSettings as CalibrationSettings
from .deploy.export import export_model as export_model
from .deploy.open_model import open_model as open_model, open_segmenter as open_segmenter
from .inference.card import ModelCard as ModelCard
from .inference.checkpoint import Checkpoint as Checkpoint
from .inference.depth import DepthModel as DepthModel, Readings as Readings
from .inference.heads import HeadModel as HeadModel
from .inference.predict import Predictor as Predictor
from .inference.segment import Segmenter as Segmenter
from .metrics.depth import evaluate as evaluate
from .networks.fgaf import FGAF as FGAF, FGAFSettings as FGAFSettings
from .networks.settings import TrainSettings as TrainSettings
from .networks.unext import UNeXt as UNeXt, UNeXtSettings as UNeXtSettings
from .training.folds import cross_validate as cross_validate
from .training.patch_dataset import PatchDataset as PatchDataset
from .training.train import train as train
