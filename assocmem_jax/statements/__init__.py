"""Executable statements: what the papers print, what is right, and ``check``, which finds out."""

from .check import Example as Example
from .check import Report as Report
from .check import Tally as Tally
from .check import Verdict as Verdict
from .check import check as check
from .claims import Claim as Claim
from .claims import at_least as at_least
from .claims import at_most as at_most
from .claims import equal as equal
from .registry import Statement as Statement
from .registry import forget as forget
from .registry import statement as statement
from .registry import statements as statements
from .shrink import shrink as shrink
