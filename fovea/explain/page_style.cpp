#include "fovea/explain/page_style.h"

namespace fovea::explain {

const char* const kPageStyle = R"css(
:root{--paper:#fbfbfa;--card:#fff;--ink:#1d2530;--muted:#5e6977;--grid:#e6e8eb;--line:#dcdfe3;
--accent:47 109 181;
--miss:200 98 43;--shade:.75;--good:#1f7a4d;--bad:#b3372b;--series-1:#2f6db5;--series-2:#c8622b;--series-3:#2e8b6a;
--series-4:#8a5bb0;--series-5:#b0432f;--series-6:#5d6b7a;--heat:.65}
@media (prefers-color-scheme:dark){:root{--paper:#14171b;--card:#1b1f25;--ink:#e4e7eb;--muted:#9aa5b1;
--grid:#2a3038;
--line:#313842;--accent:106 165 232;--miss:226 125 66;--shade:.57;--good:#5fc48f;--bad:#f08a7c;--series-1:#6aa5e8;
--series-2:#e9935f;--series-3:#5fbf9a;--series-4:#b794dd;--series-5:#ec8a78;--series-6:#9fadbb}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue","DejaVu Sans",Arial,sans-serif;-webkit-text-size-adjust:100%}
main{max-width:1180px;margin:0 auto;padding:32px 24px 48px}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 6px;letter-spacing:-.01em}
h2{font-size:1.2rem;margin:40px 0 12px;padding-bottom:6px;border-bottom:1px solid var(--line)}
h3{font-size:1rem;margin:0}
.top p,.lead{color:var(--muted);margin:0 0 8px;max-width:46em}
footer{margin-top:48px;padding-top:12px;border-top:1px solid var(--line);color:var(--muted);font-size:.85rem;
overflow-wrap:anywhere}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
.facts th,.facts td{padding:7px 14px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
.facts th{font-weight:600;color:var(--muted);font-size:.85rem}
.facts th:first-child,.facts td:first-child{text-align:left;padding-left:0}
.facts small{display:block;color:var(--muted);font-size:.8rem}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:20px 32px}
.pair h3{margin-bottom:4px}
.chart{width:100%;max-width:560px;height:auto;display:block}
.confusion{font-size:.78rem;margin-top:6px}
.confusion thead th{vertical-align:bottom;font-weight:500;color:var(--muted);height:6.2em;padding:0 2px 4px}
.confusion thead span{writing-mode:vertical-rl;transform:rotate(180deg);white-space:nowrap}
.confusion .corner{font-weight:400;text-align:right;padding-right:8px;white-space:nowrap}
.confusion tbody th{font-weight:500;color:var(--muted);text-align:right;padding:0 8px 0 0;white-space:nowrap}
.confusion td{text-align:center;min-width:2.55em;height:2.2em;border:1px solid var(--paper)}
.confusion .hit{background:rgb(var(--accent)/calc(var(--s)*var(--shade)))}
.confusion .miss{background:rgb(var(--miss)/calc(min(var(--s)*1.5,1)*var(--shade)))}
.confusion .none{color:var(--muted)}
.confusion td.recall{color:var(--muted);padding-left:8px;text-align:right}
.pairs th,.pairs td{padding:4px 14px 4px 0;text-align:left;border-bottom:1px solid var(--line)}
.controls{display:flex;flex-wrap:wrap;gap:10px 24px;align-items:center;margin:4px 0 16px}
.filter{display:inline-flex;border:1px solid var(--line);border-radius:8px;overflow:hidden}
.filter button{font:inherit;font-size:.875rem;color:var(--ink);background:var(--card);border:0;
padding:6px 14px;
cursor:pointer}
.filter button+button{border-left:1px solid var(--line)}
.filter button[aria-pressed=true]{background:rgb(var(--accent)/.16);font-weight:600}
.slider{display:inline-flex;align-items:center;gap:8px;font-size:.875rem;color:var(--muted)}
.slider input{accent-color:rgb(var(--accent));width:130px}
.scale{display:inline-flex;align-items:center;gap:8px;color:var(--muted)}
.scale img{width:130px;height:12px;border-radius:2px}
.gallery{display:grid;gap:20px;
grid-template-columns:repeat(auto-fill,minmax(min(100%,calc(var(--cells)*132px + 34px)),1fr))}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px;min-width:0}
.card[hidden]{display:none}
.card header{display:flex;justify-content:space-between;align-items:baseline;gap:12px;margin-bottom:8px}
.card .name{color:var(--muted);font-size:.8rem;overflow-wrap:anywhere;text-align:right}
.card-body{--gap:14px;display:flex;flex-wrap:wrap;gap:18px var(--gap)}
.maps{display:grid;gap:var(--gap);grid-template-columns:
repeat(auto-fill,minmax(max(90px,calc((100% - (var(--n) - 1)*var(--gap))/var(--n) - .1px)),1fr))}
.view{flex:var(--n) 1 calc(var(--n)*(96px + var(--gap)) - var(--gap));min-width:0;
max-width:calc(var(--n)*(220px + var(--gap)) - var(--gap))}
.maps figure{max-width:220px}
h4{font-size:.8rem;font-weight:600;color:var(--muted);margin:0 0 5px;white-space:nowrap}
.mark{margin-left:.4em}.ok{color:var(--good)}.no{color:var(--bad)}
.scores{list-style:none;margin:6px 0 0;padding:0;font-size:.78rem;line-height:1.3;max-width:220px}
.scores li{display:flex;flex-wrap:wrap;column-gap:6px;padding:2px 5px;margin-top:2px;
border-radius:3px;
background:linear-gradient(rgb(var(--accent)/.2),rgb(var(--accent)/.2)) 0 0/var(--p) 100% no-repeat}
.scores span{max-width:100%;overflow-wrap:anywhere}
.scores b{margin-left:auto;font-weight:500;font-variant-numeric:tabular-nums}
.scores li:first-child,.scores li:first-child b{font-weight:600}
figure{margin:0;min-width:0}
figcaption{font-size:.78rem;line-height:1.35;margin-top:5px}
figcaption small{display:block;color:var(--muted);font-variant-numeric:tabular-nums;font-size:.72rem}
details{margin-top:10px;font-size:.85rem}
summary{cursor:pointer;color:var(--muted)}
.grid{margin-top:8px;font-size:.75rem}
.grid th{font-weight:500;color:var(--muted);padding:2px 8px 2px 0;text-align:left;white-space:nowrap}
.grid td{padding:2px}.grid .stack{width:72px}
@media (max-width:480px){main{padding:20px 14px 32px}h1{font-size:1.45rem}h2{margin-top:32px}
.card{padding:12px}.card-body{--gap:10px}.scores,figcaption{font-size:.72rem}.scores li{padding:2px 3px}
.confusion{font-size:.66rem}.confusion td{min-width:2.05em;height:2em}
.confusion tbody th,.confusion .corner{padding-right:5px}.confusion td.recall{padding-left:5px}
.chart .tick{font-size:13px}}
@media (max-width:760px){.facts,.facts tbody{display:block}.facts thead{display:none}
.facts tr{display:grid;grid-template-columns:repeat(3,1fr);border-bottom:1px solid var(--line);padding-bottom:8px}
.facts td,.facts td:first-child{border:0;text-align:left;padding:6px 8px 0 0;overflow-wrap:anywhere;
white-space:normal}
.facts td:first-child{grid-column:1/-1}
.facts td[data-label]::before{content:attr(data-label);display:block;color:var(--muted);font-size:.75rem}}
.stack{position:relative;width:100%;aspect-ratio:var(--ratio);border-radius:4px;overflow:hidden;
background:#000}
.photo,.heat{position:absolute;inset:0;width:100%;height:100%}
.photo{background:var(--photo) 0 0/100% 100%}
.pixelated .photo,.cells{image-rendering:pixelated}
.heat{opacity:var(--heat)}
)css";

const char* const kPageScript = R"js(
for(const group of document.querySelectorAll('.filter'))group.addEventListener('click',e=>{
const b=e.target.closest('button');if(!b)return;
for(const o of group.children)o.setAttribute('aria-pressed',o===b);
for(const c of group.closest('section').querySelectorAll('.card'))
c.hidden=b.dataset.show!=='all'&&c.dataset.state!==b.dataset.show});
for(const i of document.querySelectorAll('.slider input'))i.addEventListener('input',()=>
document.documentElement.style.setProperty('--heat',i.value/100));
)js";

}  // namespace fovea::explain
