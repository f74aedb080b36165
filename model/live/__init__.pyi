from .loop import Live as Live, LiveSettings as LiveSettings, live as live
from .message import LiveCell as LiveCell, LiveFrame as LiveFrame
from .outputs import Done as Done, Outlets as Outlets
from .tracker import TrackSettings as TrackSettings
