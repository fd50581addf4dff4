"""On PYTHONPATH, this has every Python program that starts put up the fence of `include.simulator.fence`."""

from include.simulator import fence

fence.put_up()
