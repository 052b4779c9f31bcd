"""The pages of report.sh in a headless Chromium: no complaint, no request, nothing wider than the window, every part
drawn, values read with keys and pointer. Pictures go to the folder named."""
import sys

import browser

shots = sys.argv[1]


def say(title, good, why=""):
    print(("ok " if good else "not ok ") + title + (f": {why}" if not good and why else ""))


page = browser.Browser()
try:
    # (page, width, dark): every width that a style changes at, light and dark.
    for name, width, dark in (("short", 1400, False), ("short", 400, True), ("long", 1400, True), ("long", 400, False), ("long", 900, False), ("long", 1391, False), ("long", 1200, False),
                              ("short/2-0/report", 1400, False)):
        title = f"{name}, {width} wide, {'dark' if dark else 'light'}"
        page.open(name + ".html", width, dark)
        page.picture(f"{shots}/{name.replace('/', '-')}-{width}-{'dark' if dark else 'light'}.png")
        said, asked = page.complaints(), page.requests()
        say(f"{title}: the console is empty and nothing is asked for", not said and not asked, str(said + asked))
        over = page.run("document.documentElement.scrollWidth - innerWidth")
        say(f"{title}: nothing is wider than the window", over <= 0, f"{over} px")
    rules, tables = 4, 4
    page.open("short.html", 1400, False)
    ground = page.run("getComputedStyle(document.body).backgroundColor")
    say("light is light", ground == "rgb(255, 255, 255)", ground)
    drawn = page.run("[...document.querySelectorAll('svg.chart')].map((c) => c.querySelectorAll('path.line').length).join()")
    # Loss, norm, rate, seconds (smoothed over the raw line) and a curve a table.
    say("every curve is drawn", drawn == "4,4,4,8,4,4,4,4", drawn)
    maps = page.run("""[...document.querySelectorAll('.frame canvas')].filter((c) =>
      new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size > 20).length""")
    say("every map is drawn", maps == rules * (tables - 1), str(maps))
    page.run("document.querySelector('svg.chart').focus()")
    page.key("Home")
    read = page.run("document.getElementById('tip').innerText")
    say("keys read values", "Loss, step 1" in read and read.count("\n") >= rules, read)
    page.key("Escape")
    box = page.run("""(() => { const frame = document.querySelector('.frame'); frame.scrollIntoView({ block: 'center', behavior: 'instant' });
      const box = frame.getBoundingClientRect(); return [box.left + box.width * 0.9, box.top + box.height * 0.98]; })()""")
    page.move(*box)
    read = page.run("document.getElementById('tip').innerText")
    say("the pointer reads a map's cell", "plain()" in read and "rho of blocks.operator" in read and "layer 127" in read, read)
    page.run("document.querySelector('.legend button').click()")
    left = page.run("document.querySelector('svg.chart').querySelectorAll('path.line').length + document.querySelectorAll('.frame').length")
    say("a rule can be hidden", left == (rules - 1) + (rules - 1) * (tables - 1), str(left))
finally:
    page.close()
