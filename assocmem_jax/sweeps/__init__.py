"""Many configurations at once: axes, tiles, statistics over seeds, a store, executors."""

from .axes import Integers as Integers
from .axes import LogUniform as LogUniform
from .axes import Uniform as Uniform
from .axes import sampled as sampled
from .axes import zipped as zipped
from .capacity import Capacity as Capacity
from .capacity import capacity as capacity
from .fits import PowerLaw as PowerLaw
from .fits import power_law as power_law
from .reduce import over_seeds as over_seeds
from .run import SweepError as SweepError
from .slurm import SlurmExecutor as SlurmExecutor
from .store import StoreError as StoreError
from .sweep import open_store as open_store
from .sweep import sweep as sweep
from .threshold import Threshold as Threshold
from .threshold import threshold as threshold
from .tiles import Outcome as Outcome
