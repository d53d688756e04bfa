"""A module that starts a thread at import, which makes forking its process unsafe."""

import threading
import time

threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
