"""Chromium, told what to do through its driver: for scripts/screenshots and scripts/bench-paint.

Needs chromium and chromedriver, which scripts/test installs.
"""
import base64, json, re, subprocess, urllib.request


class Browser:
    def __init__(self):
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.driver.stdout:
            found = re.search(r"started successfully on port (\d+)", line)
            if found:
                self.base = "http://127.0.0.1:" + found.group(1)
                break
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb"]
        options = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": arguments}}}}
        self.session = "/session/" + self.call("/session", options)["sessionId"]

    def call(self, path, body):
        request = urllib.request.Request(self.base + path, json.dumps(body).encode(), {"content-type": "application/json"})
        return json.load(urllib.request.urlopen(request))["value"]

    def cdp(self, command, **params):
        return self.call(self.session + "/goog/cdp/execute", {"cmd": command, "params": params})

    def picture(self, url, size, theme, whole):
        width, height = size
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        self.call(self.session + "/url", {"url": url})
        return base64.b64decode(self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **({"clip": self.whole(width)} if whole else {}))["data"])

    def whole(self, width):
        height = self.run("return document.documentElement.scrollHeight")
        return dict(x=0, y=0, width=width, height=min(height, 6000), scale=1)

    def stop(self):
        try:
            urllib.request.urlopen(urllib.request.Request(self.base + self.session, method="DELETE"))
        finally:
            self.driver.terminate()
            self.driver.wait()

    def run(self, script):
        return self.call(self.session + "/execute/sync", {"script": script, "args": []})
