"""The page at `/`: is it up, what does it scrape, where is more, and a box for a query.

One page without any asset from elsewhere, so that it works offline; the script calls the API as any client does.
"""

from __future__ import annotations

from html import escape
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from .. import __version__
from ..abc import Route
from .options import WebOptions
from .services import ApiServices

LINKS: Final = (
    ("metrics", "own metrics"),
    ("api/v1/targets", "targets"),
    ("api/v1/status/config", "configuration"),
    ("api/v1/status/flags", "flags"),
    ("api/v1/status/runtimeinfo", "runtime"),
    ("api/v1/status/tsdb", "storage"),
    ("api/v1/rules", "rules"),
    ("-/ready", "readiness"),
)

_PAGE: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>%(title)s</title>
<style>
:root{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif}
body{max-width:70rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%%;margin:.5rem 0}
th,td{text-align:left;padding:.2rem .6rem;border-bottom:1px solid #8884;overflow-wrap:anywhere}
td.v{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
form{display:flex;gap:.5rem}input{flex:1;font:inherit;font-family:ui-monospace,monospace;padding:.3rem}
button{font:inherit}.up{color:#188038}.down{color:#d93025}#note{min-height:1.5em}nav a{margin-right:1rem}
</style></head><body>
<h1>%(title)s <small>%(version)s</small></h1>
<nav>%(links)s</nav>
<h2><label for="q">Query</label></h2>
<form id="f"><input id="q" name="query" autocomplete="off" spellcheck="false" value="up"><button>Run</button></form>
<p id="note" role="status"></p><table id="r"></table>
<h2>Targets</h2>
<table><thead><tr><th>Pool</th><th>URL</th><th>Health</th><th>Interval</th><th>Last error</th></tr></thead>
<tbody>%(targets)s</tbody></table>
<script>
const form=document.getElementById("f"),note=document.getElementById("note"),table=document.getElementById("r");
const row=(a,b)=>{const r=table.insertRow(),v=r.insertCell();v.textContent=a;const c=r.insertCell();c.className="v";c.textContent=b};
const name=m=>{const n=m.__name__||"";const l=Object.entries(m).filter(([k])=>k!=="__name__").map(([k,v])=>k+"="+JSON.stringify(v));
return n+(l.length||!n?"{"+l.join(", ")+"}":"")};
form.addEventListener("submit",async e=>{e.preventDefault();table.replaceChildren();note.textContent="...";
try{const a=await(await fetch("api/v1/query",{method:"POST",body:new URLSearchParams(new FormData(form))})).json();
if(a.status!=="success"){note.textContent=a.error;return}
const d=a.data,list=d.resultType==="vector"||d.resultType==="matrix"?d.result:[{metric:{},value:d.result}];
note.textContent=[list.length+" results",...(a.warnings||[]),...(a.infos||[])].join("; ");
for(const s of list.slice(0,1000))row(name(s.metric),s.value?s.value[1]:s.values.map(p=>p[1]+" @"+p[0]).join("\\n"))
}catch(x){note.textContent=String(x)}});
form.requestSubmit();
</script></body></html>
"""


class StatusPage:
    """The handlers of `/` and of the paths by which Prometheus's own pages are reached."""

    def __init__(self, services: ApiServices, options: WebOptions) -> None:
        self._services = services
        self._title = options.page_title
        outside = urlsplit(options.external_url).path or options.route_prefix
        self._home = outside.rstrip("/") + "/"

    async def show(self, request: Request) -> Response:
        """Answer `/`.  Links are relative, so that a reverse proxy may put the page anywhere."""
        values = {
            "title": escape(self._title),
            "version": escape(f"TinyObs {__version__}" if self._title != "TinyObs" else __version__),
            "links": "".join(f'<a href="{path}">{escape(text)}</a>' for path, text in LINKS),
            "targets": self._targets(),
        }
        return HTMLResponse(_PAGE % values)

    async def go_home(self, request: Request) -> Response:
        """Answer `/query` and `/graph`, to which other tools link.

        Clients of InfluxDB ask for its databases at `/query`, with a parameter that Prometheus has not.
        """
        if "q" in request.query_params:
            return RedirectResponse(f"{self._home}influx/query?{request.url.query}", 307)
        return RedirectResponse(self._home, 302)

    def _targets(self) -> str:
        rows = []
        for t in self._services.targets().active:
            health = f'<td class="{escape(t.health)}">{escape(t.health)}</td>'
            cells = (t.scrape_pool, t.scrape_url), (t.scrape_interval, t.last_error)
            before, after = ("".join(f"<td>{escape(c)}</td>" for c in part) for part in cells)
            rows.append(f"<tr>{before}{health}{after}</tr>")
        return (
            "".join(rows)
            or '<tr><td colspan="5">no scrape configs; what is collected in process shows in the query above</td></tr>'
        )


def page_routes(services: ApiServices, options: WebOptions) -> list[Route]:
    """Return the routes of the pages."""
    page = StatusPage(services, options)
    return [Route("/", page.show), Route("/query", page.go_home), Route("/graph", page.go_home)]
