from ssl_cli.api import load_backbone as load_backbone
from ssl_cli.api import load_classifier as load_classifier
from ssl_cli.api import run as run

__version__: str
