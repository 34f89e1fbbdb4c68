"""A site without data: its update is random, since Flower's superlink stores equal messages once."""
import numpy as np
from flwr.client import ClientApp, NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.common import Context


class RandomSite(NumPyClient):
    """Adds noise to what it is given."""

    def __init__(self, parameters):
        self.parameters = parameters

    def get_parameters(self, config):
        return [np.zeros(self.parameters, np.float32)]

    def fit(self, parameters, config):
        return [np.random.default_rng().standard_normal(self.parameters, np.float32)], 100, {}

    def evaluate(self, parameters, config):
        return 0.0, 100, {}


def client(context: Context):
    """One per message, as Flower makes them."""
    return RandomSite(int(context.run_config["parameters"])).to_client()


# The masks' mod lets messages of a run without secure aggregation fail, so each has its own app.
plain = ClientApp(client_fn=client)
masked = ClientApp(client_fn=client, mods=[secaggplus_mod])
app = plain
