"""The benchmark of bench/attend: its cases, its judgement of results, and a short run with the peers that torch has."""

import argparse
import json
import os
import subprocess
import tempfile
import unittest

import torch

from attend import __main__ as program
from attend import contest, exact, machine, report, timing
from attend.cases import Case, all_cases, target
from attend.operands import make_operands, t5_bucket
from attend.peers import Contestant

MACHINE = {
    "date": "", "cpu": "", "model": "", "cores": 1, "features": [], "packages": {"torch": "2.11.0"}, "load": 0.0,
}


class Cases(unittest.TestCase):
    def test_names_differ(self):
        names = [case.name for case in all_cases()]
        self.assertEqual(len(names), len(set(names)))

    @unittest.skipUnless(os.environ.get("FOVEA_PROGRAM"), "FOVEA_PROGRAM is not set")
    def test_the_program_times_the_same_calls(self):
        command = [os.environ["FOVEA_PROGRAM"], "bench", "attend", "--list", "--json"]
        listed = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        theirs = {case["name"]: case["flops"] for case in listed["cases"]}
        ours = {case.name: case.flops for case in all_cases() if case.kind == "attend"}
        self.assertEqual(theirs, ours)

    def test_pairs(self):
        for how in ({}, {"causal": True}, {"causal": True, "window": 7}, {"causal": True, "window": 90}):
            case = Case("", "", n=40, m=40, **how)
            hidden = exact.hidden(case, torch.arange(40), torch.arange(40))
            self.assertEqual(case.pairs, int((~hidden).sum()), how)

    def test_amx_lowers_only_plain_bfloat16(self):
        cases = {case.name: case for case in all_cases()}
        self.assertEqual(target(cases["full_bf16_fwd"], "sdpa", amx=True), 1.3)
        self.assertEqual(target(cases["full_bf16_fwd"], "sdpa", amx=False), 2.3)
        self.assertEqual(target(cases["dropout_fp32_fwd"], "sdpa", amx=True), 6)

    def test_t5_bucket(self):
        distances = torch.tensor([-300, -128, -127, -3, 0, 3, 127, 128, 300])
        self.assertEqual(t5_bucket(distances).tolist(), [15, 15, 15, 3, 0, 19, 31, 31, 31])


class Judgement(unittest.TestCase):
    case = Case("small", "full", b=2, h=4, hkv=2, n=150, m=150, d=16, backward=True, causal=True, window=20)

    def results(self, spoil):
        operands = make_operands(self.case)
        out, *gradients = contest.preparer("fovea")(self.case, operands, 1).run(0)
        found = [out * spoil, *gradients]
        return exact.errors(self.case, exact.exact_results(self.case, operands[0]), found)

    def test_a_right_result_passes(self):
        self.assertIsNone(contest.wrong(self.case, self.results(1.0)))

    def test_a_wrong_result_is_refused(self):
        self.assertIn("wrong by 1.0e-03", contest.wrong(self.case, self.results(1.001)))
        self.assertIn("wrong by", contest.wrong(self.case, self.results(float("nan"))))


class Timing(unittest.TestCase):
    def test_everyone_begins_and_meets_all_operands(self):
        calls = []
        contestants = [Contestant(name, lambda at, name=name: calls.append((name, at))) for name in "ab"]
        found = timing.run_in_turns(contestants, 3, 3)
        self.assertEqual([name for name, _ in calls[4:]], ["a", "b", "b", "a", "a", "b"])
        self.assertEqual({at for name, at in calls[4:] if name == "a"}, {0, 1, 2})
        self.assertEqual(found["a"]["runs"], 3)

    def test_peak_counts_what_is_freed_again(self):
        def run():
            torch.ones(50_000_000)
            return torch.ones(1)

        self.assertAlmostEqual(timing.peak_extra(run, 4) / 200e6, 1.0, delta=0.05)


class ShortRun(unittest.TestCase):
    def test_page_names_who_ran_and_who_could_not(self):
        case = Case("small", "full", n=150, m=150, h=2, hkv=2, backward=True, targets={"sdpa": 1.5})
        result = contest.run_case(case, [1], 2, ["fovea", "sdpa", "openvino"])
        self.assertEqual(list(result["threads"][1]), ["fovea", "sdpa"])
        self.assertLess(result["properties"]["sdpa"]["gradient_error"], 1e-5)
        text = report.page([case], {"machine": MACHINE, "rounds": 2, "results": [result]})
        self.assertRegex(text, r"\| small \| sdpa \| 1.5 \| [0-9.e+]+ \| [0-9.e+]+ \| (yes|\*\*no\*\*) \|")
        self.assertRegex(text, r"- openvino: (Unsupported: has no backward|ModuleNotFoundError: .*openvino)")


class Resume(unittest.TestCase):
    def begun(self, file, rounds=2, **changes):
        document = {"machine": machine.describe(measure=False) | changes, "rounds": 2, "results": []}
        program.write(file, json.dumps(document | {"results": [{"case": "a", "threads": {"1": {}}}]}))
        return program.begun(argparse.Namespace(resume=True, json=file), rounds)

    def test_what_was_measured_stays(self):
        with tempfile.TemporaryDirectory() as folder:
            found = self.begun(f"{folder}/a.json", date="1999-12-31")
            self.assertEqual([r["case"] for r in found["results"]], ["a"])
            self.assertEqual(list(found["results"][0]["threads"]), [1])

    def test_figures_of_two_machines_never_mix(self):
        with tempfile.TemporaryDirectory() as folder:
            for how in ({"cpu": "another"}, {"packages": {}}, {"rounds": 3}):
                with self.assertRaisesRegex(SystemExit, "same machine"):
                    self.begun(f"{folder}/a.json", **how)

    def test_a_page_names_what_is_missing(self):
        cases = [Case("a", "full"), Case("b", "full")]
        result = {"case": "a", "flops": 1, "threads": {1: {}}, "properties": {}, "failures": {}}
        text = report.page(cases, {"machine": MACHINE, "rounds": 2, "results": [result]})
        self.assertIn("Not measured: b.", text)


if __name__ == "__main__":
    unittest.main()
