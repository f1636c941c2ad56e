"""Token attributions: which tokens make a direction?"""

from app.shell import header

header("Token attributions", "Which tokens make a direction?")
