// Draws figures of Plotly in the colours of theme.css. A text such as var(--plain) is the page's colour of that name.

"use strict";

function themeColour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function withColours(value) {
  if (typeof value === "string") {
    const named = /^var\((--[a-z0-9-]+)\)$/.exec(value);
    return named ? themeColour(named[1]) : value;
  }
  if (Array.isArray(value)) return value.map(withColours);
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, withColours(each)]));
  }
  return value;
}

function drawFigure(name, figure, margin = {}) {
  const { data, layout } = withColours(figure);
  const line = themeColour("--line");
  Object.assign(layout, {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", autosize: true,
    font: { color: themeColour("--text"), family: "system-ui, sans-serif" },
    margin: { l: 56, r: 12, t: 28, b: 48, ...margin },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom" },
    hoverlabel: { bgcolor: themeColour("--card"), bordercolor: line, font: { color: themeColour("--text") } },
  });
  for (const axis of ["xaxis", "yaxis"]) {
    layout[axis] = { automargin: true, ...layout[axis], gridcolor: line, linecolor: line, zerolinecolor: line };
  }
  const options = { responsive: true, displaylogo: false, displayModeBar: false };
  return Plotly.react(`figure-${name}`, data, layout, options);
}

// Calls when the page turns from light to dark or back.
function onTheme(draw) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}
