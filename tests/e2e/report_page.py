"""What is in the pages of report.sh: the runs' own numbers, nothing from elsewhere, in bounded size."""
import json, os, re


def say(title, good):
    print(("ok " if good else "not ok ") + title)


def block(page):
    text = open(page).read()
    return text, json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


def lines(path):
    return [json.loads(line) for line in open(path)]


text, short = block("short.html")
run = short["runs"][2]
metrics, tables = lines("short/2-0/metrics.jsonl"), lines("short/2-0/diagnostics.jsonl")
close = lambda a, b: a == b or (a is not None and b is not None and abs(a - b) <= 1e-3 * abs(b))  # values go in with 4 digits
say("four runs, with rules and seeds", [r["rule"] for r in short["runs"]][2:] == ["mvsplit(alpha = 0, beta = 0.0625)", "rezero()"]
    and all(r["seed"] == "0" for r in short["runs"]))
say("a short run goes in step by step", run["curves"]["step"] == [m["step"] for m in metrics] and "least" not in run["curves"]["loss"]
    and all(close(a, m[name]) for name in ("loss", "grad_norm", "lr", "seconds") for a, m in zip(run["curves"][name]["mean"], metrics)))
rho = next(t for t in run["tables"] if t["name"] == "rho")
say("tables go in by layer and step", rho["layers"] == tables[0]["tables"]["rho"]["layers"] and rho["step"] == [t["step"] for t in tables]
    and all(close(site["values"][k][at], line["tables"]["rho"]["sites"][site["name"]][k])
            for site in rho["sites"] for k in range(13) for at, line in enumerate(tables)))
say("what is not there is null", rho["sites"][0]["values"][5][0] is None)
say("alarms go in as they are", run["alarms"] == lines("short/2-0/alarms.jsonl"))
say("options, memory and parameters", run["options"] == json.load(open("short/2-0/run.json"))["options"] and run["memory_bytes"] == 1.68e9
    and run["parameters"] == 19877056)
last = [m["loss"] for m in metrics[-50:]]
say("the last tenth's mean is the loss", close(run["figures"]["last_loss"], sum(last) / 50))
say("states", [r["state"] for r in short["runs"]] == ["done"] * 4)
say("samples are in the page", run["pictures"][0]["png"].startswith("iVBORw0KGgo"))

text, long = block("long.html")
run = long["runs"][3]
metrics = lines("long/1-0/metrics.jsonl")
say("a long run is folded", 512 <= len(run["curves"]["step"]) <= 1024)
norms = [m["grad_norm"] for m in metrics]
curve = run["curves"]["grad_norm"]
peak = curve["most"].index(max(curve["most"]))
say("a spike of one step stays", close(curve["most"][peak], max(norms)) and curve["mean"][peak] < 0.5 * max(norms))
# 5000 rows, 8 a bucket: no bucket is half full.
say("means are of all steps", close(sum(curve["mean"]) / len(curve["mean"]), sum(norms) / len(norms)))
say("a step that is not finite is told", long["runs"][10]["state"] == "diverged" and long["runs"][10]["first_bad"] == 1750)
say("the page is no larger than 6 MB", os.path.getsize("long.html") < 6e6)
say("a title cannot end the data", long["title"] == "a </script><b>" and "</script><b>" not in text)
# The one address is the name of SVG's elements, which nobody asks for.
say("no address but the name of SVG", set(re.findall(r"https?://[^\s\"'`<]*", re.sub(r'id="data">.*?</script>', "", text, flags=re.S)))
    == {"http://www.w3.org/2000/svg"})
