from .control.engine import Engine as Engine, Exposure as Exposure
from .control.positions import Position as Position, read_positions as read_positions
from .control.sweep import Sweep as Sweep, SweepSettings as SweepSettings
from .devices import (
    Camera as Camera,
    Clock as Clock,
    DeviceError as DeviceError,
    Devices as Devices,
    Frame as Frame,
    IncompleteFrameError as IncompleteFrameError,
    RampStage as RampStage,
    Stage as Stage,
    StreamingCamera as StreamingCamera,
    VelocityStage as VelocityStage,
    WallClock as WallClock,
    XYStage as XYStage,
)
from .interrupt import Interrupt as Interrupt, InterruptError as InterruptError
from .plan import StackPlan as StackPlan
from .recording.recording import (
    Labels as Labels,
    Recorded as Recorded,
    record_stacks as record_stacks,
)
from .recording.stack_names import stack_paths as stack_paths
from .rig import Opening as Opening, Rig as Rig, load_rig as load_rig, open_rig as open_rig
