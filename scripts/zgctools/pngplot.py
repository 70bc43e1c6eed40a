"""Draws Charts into one PNG with matplotlib, which is optional."""

from .tool import ToolError


def load():
    try:
        import matplotlib
    except ImportError:
        raise ToolError('--png needs matplotlib (apt install python3-matplotlib, or pip install '
                        'matplotlib); --html needs nothing')
    matplotlib.use('Agg')
    from matplotlib import pyplot
    return pyplot


def draw(charts, path, heading):
    pyplot = load()
    heights = [chart.height for chart in charts]
    figure, places = pyplot.subplots(
        len(charts), 1, squeeze=False, gridspec_kw={'height_ratios': heights},
        figsize=(9.5, sum(heights) / 82 + 0.6), layout='constrained')
    figure.suptitle(heading, fontsize=11)
    for chart, (place,) in zip(charts, places):
        draw_one(chart, place)
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise ToolError('cannot write %s: %s' % (path, error.strerror))
    finally:
        pyplot.close(figure)


def draw_one(chart, place):
    x_span, y_span = chart.spans()
    for axis, spec, span in ((place.xaxis, chart.x, x_span), (place.yaxis, chart.y, y_span)):
        scale = 'log' if spec.log else 'linear'
        (place.set_xscale if axis is place.xaxis else place.set_yscale)(scale)
        ticks = spec.ticks(span)
        axis.set_ticks(ticks, labels=[spec.text(tick) for tick in ticks])
        axis.set_tick_params(which='minor', length=0, labelbottom=False, labelleft=False)
        axis.set_label_text(spec.label, fontsize=8)
    place.tick_params(labelsize=8)
    place.set_xlim(*x_span)
    place.set_ylim(*y_span)
    place.set_title(chart.title, fontsize=10, loc='left')
    place.grid(axis='y', color='#dddddd', linewidth=0.6)
    place.set_axisbelow(True)
    for series in chart.series:
        if series.kind == 'bars':
            place.bar([p[0] for p in series.points], [p[2] for p in series.points],
                      width=[(p[1] - p[0]) * 0.92 for p in series.points], align='edge',
                      color=series.color)
        else:
            style = '-o' if series.kind == 'line' else 'o'
            place.plot([p[0] for p in series.points], [p[1] for p in series.points], style,
                       color=series.color, markersize=2.5, linewidth=1.2)
    for value, label in chart.levels:
        place.axhline(value, color='#aa0000', linewidth=0.9, linestyle='--')
        place.annotate(label, (x_span[1], value), fontsize=7, ha='right', va='bottom')
    if chart.legend():
        from matplotlib.patches import Patch
        place.legend(handles=[Patch(color=color, label=name) for name, color in chart.legend()],
                     fontsize=7, frameon=False, ncol=len(chart.legend()), loc='lower right',
                     bbox_to_anchor=(1.0, 0.99), borderaxespad=0)
