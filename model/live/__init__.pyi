from .goal import Goal as Goal
from .loop import Live as Live, LiveSettings as LiveSettings, live as live
from .message import LiveCell as LiveCell, LiveFrame as LiveFrame
from .outputs import Done as Done, LiveOutputs as LiveOutputs
from .tracker import TrackSettings as TrackSettings
