"""What `%%victor?` and `%victor help` say: examples first."""

from __future__ import annotations

from typing import Final

CELL: Final = """Ask a model. The cell's lines are the prompt; the answer streams in, with its bill under it.

    %%victor
    What is overfitting?                       the default profile answers

    %%victor fast out=reply                    a profile of profiles.yaml; the reply becomes a variable
    Summarise in one line: {{ text }}          {{ name }} is your variable; all else is sent as typed

    %%victor fast as=json max_tokens=500       text, md, json, code or table
    Classify {{ df | head(20) }} as JSON.      .attr ['key'] [0], and | md csv json repr head sample truncate schema

    %%victor profiles=fast,local n=2           several at once, side by side
    %%victor strategy=funnel budget=0.10       explore, select, implement, review; at most USD 0.10
    %%victor fast bg=true out=job              returns at once; job.result() waits

    %%victor fast --dry                        what would be sent and what it would cost; sends nothing

Keys, as key=value or --key value; $name is a Python object:

    profile=NAME      who answers (a bare first word is the same)
    profiles=A,B      ask several; n=N samples of each; on_error=keep|raise
    strategy=NAME     funnel tiered specialized cascade single, or one of profiles.yaml
    out=NAME          variable for the Reply (-o NAME)
    as=FORM           text md json code table
    schema=$Model     pydantic model or type that the JSON must fit
    system=TEXT       system prompt
    chat=NAME         remember this conversation under a name
    vars=$dict        take {{ names }} from a dict only
    raw=true          insert nothing
    budget=USD        what the cell may spend       bg=true    go on in the background
    max_tokens= temperature= params=$dict          sent only if given
    timeout=SECONDS  retries=N  tags=team:search
    show=answer|quiet|none  cost=on|off  dry=true

Write \\{{ name }} to send braces as text. Stop ends the call at once and keeps what came in session().last.
"""

LINE: Final = """Look after models, money and modes. Only `ask` sends a prompt.

    %victor                                    how things stand
    x = %victor ask fast -- What is a kernel?  the Reply, without showing it
    %victor pick                               choose a profile from a list: it becomes the default
    %victor panel                              ask from a form; `%victor panel code` turns it into a cell
    %victor profiles                           who can be asked, at what price, and whose key is set
    %victor mode simulate                      answers without keys and without cost (live: real ones)
    %victor cost by=model                      what was spent; by=profile, strategy, stage, day, status, ...
    %victor budget 0.50                        what this notebook may spend in all, in USD (off: no limit)
    %victor plot spend_over_time               a chart; cost_by_stage, funnel, gantt of the last strategy run
    %victor strategy                           the strategies and their stages
    %victor ledger 20                          the last attempts, one row each
    %victor last                               the last reply
    %victor errors                             the last error in full
    %victor set profile=fast timeout=60        defaults of this notebook; `%victor set reset` forgets them
    %victor chats clear demo                   forget a conversation; `%victor chats` lists them
    %victor doctor                             is every profile reachable, priced and current? Spends nothing
    %victor cancel                             stop what still runs in the background

`%%victor?` says how to ask.
"""
