"""The compiled operators make the wheel one of this platform, but of any Python: they use torch's C++ only."""

import pathlib
import sys

from setuptools import Distribution, setup
from wheel.bdist_wheel import bdist_wheel

if not (pathlib.Path(__file__).parent / "fovea" / "libfovea_torch.so").is_file():
    sys.exit("[fovea] the compiled operators are missing. Run scripts/build-python, then pip install again.")


class PlatformDistribution(Distribution):
    def has_ext_modules(self):
        return True


class PlatformWheel(bdist_wheel):
    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


setup(distclass=PlatformDistribution, cmdclass={"bdist_wheel": PlatformWheel})
