from pushcut.reporting.facts import command_line, hyper_parameters, provenance_facts, settings

CONFIG = {
    "type": "TrainConfig",
    "env": {"type": "PointMassConfig", "tasks": [], "max_steps": 40},
    "algorithm": {"type": "GRPO", "group_size": 8, "clip_high": 0.28, "kl": None},
    "seed": 3,
    "resume": False,
    "tasks": ["push", "pull"],
}


def test_a_command_is_a_line_that_a_shell_takes():
    argv = ["/opt/venv/bin/pushcut", "sft", "smoke", "--tasks", "press the button"]
    assert command_line(argv) == "pushcut sft smoke --tasks 'press the button'"
    argv[0] = "/opt/venv/lib/pushcut/__main__.py"
    assert command_line(argv).startswith("python -m pushcut sft smoke")


def test_the_facts_have_the_versions_and_leave_out_what_an_old_record_lacks():
    content = {"command": ["pushcut", "train"], "pushcut": "0.2", "versions": {"torch": "2.9"}}
    assert provenance_facts(content) == {
        "command": "pushcut train",
        "versions": "pushcut 0.2, torch 2.9",
    }


def test_hyper_parameters_are_a_line_for_each_part():
    assert hyper_parameters(CONFIG) == {
        "seed": "3",
        "environment": "PointMass: max_steps 40",
        "algorithm": "GRPO: group_size 8, clip_high 0.28, kl none",
    }


def test_every_setting_has_its_dotted_name():
    found = dict(settings(CONFIG))
    assert found["algorithm"] == "GRPO"
    assert found["algorithm.clip_high"] == "0.28"
    assert found["resume"] == "no"
    assert found["tasks"] == "push pull"
    assert "type" not in found
