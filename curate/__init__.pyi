from .candidates import Candidate as Candidate, find_candidates as find_candidates
from .compile import compile_archive as compile_archive
from .detection.detect import Detections as Detections, detect as detect
from .focus.suggest import Suggestion as Suggestion, suggest as suggest
from .session.finding import find_cells as find_cells, open_session as open_session
from .session.session import Session as Session
from .tracking.follow import Track as Track
