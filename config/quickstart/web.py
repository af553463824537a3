"""The application as quickstart's web server loads it: in worker processes that do not outlive the server.

A worker whose server was killed would go on listening, and the next start would find its port taken.
"""

from config.quickstart.child import end_with_parent
from config.rsgi import application

__all__ = ["application"]

end_with_parent()
