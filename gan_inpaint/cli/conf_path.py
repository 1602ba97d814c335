"""Where ``conf/`` is."""

from pathlib import Path

_packaged = Path(__file__).resolve().parents[1] / "conf"
# in a wheel the YAML files travel inside the package, in a checkout they stand beside it
CONF = _packaged if _packaged.is_dir() else _packaged.parents[1] / "conf"
