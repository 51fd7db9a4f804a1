r"""Point the laws at somebody else's batch norm, and name what is wrong with it."""

from refbn.diagnose.case import Broken as Broken
from refbn.diagnose.diagnosis import check as check
from refbn.diagnose.layout import Layout as Layout
from refbn.diagnose.report import Report as Report
from refbn.diagnose.subject import Lacking as Lacking
from refbn.diagnose.subject import Start as Start
from refbn.diagnose.subject import Subject as Subject
from refbn.diagnose.subject import Target as Target
