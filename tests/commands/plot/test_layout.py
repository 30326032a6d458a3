from rest_verl.commands.plot.draw import arrange
from rest_verl.commands.plot.panels import Curve, Panel, PanelCurves

CURVE = Curve([1], [1.0], [1.0], [1.0], 1)


def single(title, *runs):
    return PanelCurves(Panel(title, "u", title), {"": dict.fromkeys(runs, CURVE)})


def family(title, members, *runs):
    return PanelCurves(Panel(title, "u", f"{title}/*"), {member: dict.fromkeys(runs, CURVE) for member in members})


def titles(rows):
    return [[cell.title for cell in row] for row in rows]


def test_members_of_one_runs_family_share_a_panel_and_are_named_in_the_legend_once():
    layout = arrange([single("R", "a"), family("E", ["x", "y"], "a"), family("W", ["y", "z"], "a")], ["a"])
    assert titles(layout.panels) == [["R", "E", "W"]] and layout.families == []
    assert list(layout.panels[0][1].curves) == ["x", "y"]
    assert layout.names == ["x", "y", "z"]


def test_with_several_runs_each_member_has_axes_of_its_own_and_the_legend_names_runs():
    layout = arrange([single("R", "a", "b"), family("E", ["x", "y"], "b")], ["a", "b"])
    assert titles(layout.panels) == [["R"]] and titles(layout.families) == [["x", "y"]]
    assert list(layout.families[0][0].curves) == ["b"]
    assert layout.names == ["a", "b"]


def test_a_family_of_one_member_is_a_panel_that_names_it():
    assert titles(arrange([family("Accuracy", ["toy"], "a", "b")], ["a", "b"]).panels) == [["Accuracy: toy"]]


def test_rows_are_filled_evenly():
    panels = [single(str(number), "a") for number in range(5)]
    assert titles(arrange(panels, ["a"]).panels) == [["0", "1", "2"], ["3", "4"]]
    layout = arrange([family("E", "abcdefg", "1", "2")], ["1", "2"])
    assert titles(layout.families) == [["a", "b", "c", "d"], ["e", "f", "g"]] and layout.panels == []
