r"""A small reference implementation of batch normalisation in NumPy.

The moments of a batch are a value. Normalising is a pure function of an array, a mean and a
variance. Training is normalising with the batch's own moments; everything else follows.

- [`Moments`][refbn.Moments]: count, mean and squared deviations of an array; they merge.
- [`normalize`][refbn.normalize]: subtract a given mean, divide by a given standard deviation.
- [`batch_norm_train`][refbn.batch_norm_train] and
  [`batch_norm_backward`][refbn.batch_norm_backward]: batch norm in training, and its gradient.
- [`batch_norm_infer`][refbn.batch_norm_infer] and
  [`batch_norm_infer_backward`][refbn.batch_norm_infer_backward]: the same at inference.
- [`RunningStatistics`][refbn.RunningStatistics] with
  [`exponential_average`][refbn.exponential_average] and
  [`cumulative_average`][refbn.cumulative_average]: what inference uses, and how it follows the
  batches.
- [`BatchNorm`][refbn.BatchNorm]: all of it as a layer with state.
- [`refbn.gradcheck`][refbn.gradcheck]: check a backward pass, yours or ours.
"""

from refbn import gradcheck as gradcheck
from refbn.layer import BatchNorm as BatchNorm
from refbn.moments import Moments as Moments
from refbn.running import RunningStatistics as RunningStatistics
from refbn.running import cumulative_average as cumulative_average
from refbn.running import exponential_average as exponential_average
from refbn.transform import Cache as Cache
from refbn.transform import Gradients as Gradients
from refbn.transform import batch_norm_backward as batch_norm_backward
from refbn.transform import batch_norm_infer as batch_norm_infer
from refbn.transform import batch_norm_infer_backward as batch_norm_infer_backward
from refbn.transform import batch_norm_train as batch_norm_train
from refbn.transform import normalize as normalize

__version__ = "0.1.0"
