r"""A small reference implementation of batch normalisation in NumPy.

The moments of a batch are a value. Normalising is a pure function of an array, a mean and a
variance. Training is normalising with the batch's own moments; everything else follows.

- [`Moments`][refbn.Moments]: count, mean and squared deviations of an array; they merge.
- [`normalize`][refbn.normalize]: subtract a given mean, divide by a given standard deviation.
- [`batch_norm_train`][refbn.batch_norm_train] and
  [`batch_norm_backward`][refbn.batch_norm_backward]: batch norm in training, and its gradient.
- [`batch_norm_infer`][refbn.batch_norm_infer] and
  [`batch_norm_infer_backward`][refbn.batch_norm_infer_backward]: the same at inference.
- [`refbn.derivatives`][refbn.derivatives]: forward mode, and the derivatives of the gradients.
- [`RunningStatistics`][refbn.RunningStatistics]: what inference uses, with the rules by which it
  follows the batches, and the statistics of a whole population.
- [`BatchNorm`][refbn.BatchNorm]: all of it as a layer with state.
- [`refbn.folding`][refbn.folding]: put an inference batch norm into the layer beside it.
- [`refbn.family`][refbn.family]: layer, instance, group and RMS norm.
- [`refbn.variants`][refbn.variants]: ghost batches, batch renormalisation, weight normalisation.
- [`refbn.sync`][refbn.sync]: one batch norm over the batches of several workers;
  [`SyncBatchNorm`][refbn.SyncBatchNorm] is the layer.
- [`refbn.chunked`][refbn.chunked]: the statistics of a Dask array, which need not fit into memory.
- [`refbn.conventions`][refbn.conventions]: how the frameworks differ, as data; converts their
  states.
- [`refbn.gradcheck`][refbn.gradcheck]: check a backward pass, yours or ours.
"""

from refbn import conventions as conventions
from refbn import gradcheck as gradcheck
from refbn.chunked import chunked_moments as chunked_moments
from refbn.chunked import chunked_population_statistics as chunked_population_statistics
from refbn.derivatives import DoubleGradients as DoubleGradients
from refbn.derivatives import batch_norm_double_backward as batch_norm_double_backward
from refbn.derivatives import batch_norm_infer_double_backward as batch_norm_infer_double_backward
from refbn.derivatives import batch_norm_infer_jvp as batch_norm_infer_jvp
from refbn.derivatives import batch_norm_jvp as batch_norm_jvp
from refbn.family import NormCache as NormCache
from refbn.family import group_norm as group_norm
from refbn.family import instance_norm as instance_norm
from refbn.family import layer_norm as layer_norm
from refbn.family import norm_backward as norm_backward
from refbn.family import rms_norm as rms_norm
from refbn.folding import Line as Line
from refbn.folding import fold_into_next as fold_into_next
from refbn.folding import fold_into_previous as fold_into_previous
from refbn.folding import identity_parameters as identity_parameters
from refbn.folding import padding_value as padding_value
from refbn.folding import scale_and_shift as scale_and_shift
from refbn.layer import BatchNorm as BatchNorm
from refbn.moments import Moments as Moments
from refbn.running import RunningStatistics as RunningStatistics
from refbn.running import cumulative_average as cumulative_average
from refbn.running import debiased_exponential_average as debiased_exponential_average
from refbn.running import exponential_average as exponential_average
from refbn.running import pooled_statistics as pooled_statistics
from refbn.running import population_statistics as population_statistics
from refbn.sync import sync_batch_norm_backward as sync_batch_norm_backward
from refbn.sync import sync_batch_norm_train as sync_batch_norm_train
from refbn.sync import sync_moments as sync_moments
from refbn.sync_layer import SyncBatchNorm as SyncBatchNorm
from refbn.transform import Cache as Cache
from refbn.transform import Gradients as Gradients
from refbn.transform import batch_norm_backward as batch_norm_backward
from refbn.transform import batch_norm_infer as batch_norm_infer
from refbn.transform import batch_norm_infer_backward as batch_norm_infer_backward
from refbn.transform import batch_norm_train as batch_norm_train
from refbn.transform import normalize as normalize
from refbn.variants import RenormCache as RenormCache
from refbn.variants import batch_renorm_backward as batch_renorm_backward
from refbn.variants import batch_renorm_train as batch_renorm_train
from refbn.variants import direction_and_length as direction_and_length
from refbn.variants import ghost_batch_norm_backward as ghost_batch_norm_backward
from refbn.variants import ghost_batch_norm_train as ghost_batch_norm_train
from refbn.variants import weight_norm as weight_norm
from refbn.variants import weight_norm_backward as weight_norm_backward

__version__ = "0.1.0"
