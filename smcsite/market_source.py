"""Which market a run of the service is about: chosen once, at start."""

import threading

import requests

_PROBE_SECONDS = 4.0


def can_reach_exchange(rest_url: str) -> bool:
    """Ask the exchange for its time; False when no sensible answer comes within a few seconds."""
    answers: list[bool] = []
    # Looking up a name may take far longer than any timeout of the request itself, so a thread is left behind.
    asking = threading.Thread(target=lambda: answers.append(_answers(rest_url)), daemon=True)
    asking.start()
    asking.join(_PROBE_SECONDS)
    return any(answers)


def _answers(rest_url: str) -> bool:
    try:
        answer = requests.get(f"{rest_url}/api/v3/time", timeout=(3.0, 3.0), allow_redirects=False)
        return answer.status_code == 200 and isinstance(answer.json()["serverTime"], int)
    except (requests.RequestException, ValueError, KeyError, TypeError):
        # A hotel's login page answers 200 as well, but not with a time.
        return False
