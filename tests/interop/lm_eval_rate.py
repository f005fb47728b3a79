# SPDX-License-Identifier: Apache-2.0
# How fast lm-evaluation-harness gets its log-likelihoods from a server: requests over the seconds
# between the first and the last answer, without loading, prompts and metrics. Writes the bodies
# that it sent, one a line, for fpq_bench_serve.
#   python3 lm_eval_rate.py URL MODEL_DIR LONGEST TASKS_DIR TASK,TASK CLIENTS BODIES
import json
import sys
import time

import lm_eval
from lm_eval.models.openai_completions import LocalCompletionsAPI
from lm_eval.tasks import TaskManager

url, model, longest, tasks, names, clients, bodies = sys.argv[1:]


class timed(LocalCompletionsAPI):
    sent, seconds = [], 0.0

    def _create_payload(self, *args, **kwargs):
        body = super()._create_payload(*args, **kwargs)
        self.sent.append(body)
        return body

    def _loglikelihood_tokens(self, requests, **kwargs):
        begin = time.monotonic()
        out = super()._loglikelihood_tokens(requests, **kwargs)
        self.seconds += time.monotonic() - begin
        return out


asked = timed(base_url=url, model="tiny", tokenizer=model, tokenizer_backend="huggingface",
              add_bos_token=True, num_concurrent=int(clients), max_length=int(longest), batch_size=1)
lm_eval.simple_evaluate(model=asked, tasks=names.split(","), bootstrap_iters=0,
                        task_manager=TaskManager(include_path=tasks))
with open(bodies, "w", encoding="utf-8") as out:
    out.writelines(json.dumps(body) + "\n" for body in asked.sent)
count, tokens = len(asked.sent), sum(len(p) for body in asked.sent for p in body["prompt"])
print(f"lm_eval, {clients} at a time        {asked.seconds:8.3f} s  {count / asked.seconds:9.1f} requests/s  "
      f"{tokens / asked.seconds:9.0f} tokens/s")
