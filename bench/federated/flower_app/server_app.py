"""FedAvg, in the open or through SecAgg+; the moment at which each round ends goes to the file `log`."""
import time

import numpy as np
from flwr.common import Context, ndarrays_to_parameters
from flwr.server import Grid, LegacyContext, ServerApp, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow

app = ServerApp()


class Timed(FedAvg):
    """FedAvg that says when a round begins and ends."""

    def __init__(self, log, **options):
        super().__init__(**options)
        self.log = log

    def note(self, what):
        with open(self.log, "a", encoding="utf-8") as file:
            file.write(f"{what} {time.monotonic()}\n")

    def configure_fit(self, server_round, parameters, client_manager):
        instructions = super().configure_fit(server_round, parameters, client_manager)
        self.note("begin")
        return instructions

    def aggregate_fit(self, server_round, results, failures):
        aggregated = super().aggregate_fit(server_round, results, failures)
        self.note("end" if results else "failed")
        return aggregated


@app.main()
def main(grid: Grid, context: Context) -> None:
    """One run."""
    config = context.run_config
    sites = int(config["sites"])
    start = ndarrays_to_parameters([np.zeros(int(config["parameters"]), np.float32)])
    strategy = Timed(str(config["log"]), fraction_fit=1.0, fraction_evaluate=0.0, min_fit_clients=sites,
                     min_available_clients=sites, initial_parameters=start)
    legacy = LegacyContext(context=context, config=ServerConfig(num_rounds=int(config["rounds"])), strategy=strategy)
    secure = None
    if config["secure"]:
        secure = SecAggPlusWorkflow(num_shares=sites, reconstruction_threshold=sites // 2 + 1)
    DefaultWorkflow(fit_workflow=secure)(grid, legacy)
