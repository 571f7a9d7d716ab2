"""What every client of this SDK stands on: it signs calls, sends them, tries again
where that costs nothing, and reads answers with patience."""

from .call import Call, File
from .client import Answer, Core, Options
from .errors import Error

__all__ = ["Answer", "Call", "Core", "Error", "File", "Options"]
