"""A rig that drives JupyterLab and Notebook 7 in a real Chromium, as a user would.

`jupyter` runs the server, `desk` the browser, `book` a notebook in it; `traffic` listens to its kernel, `axe` judges
what it shows to people who cannot see it, and `needs` says what is missing. The fixtures are in `conftest`: `book`
opens a notebook of the given cells, in each app in turn.

    def test_when_a_cell_is_run_then_it_answers(book: OpenBook) -> None:
        page = book("%load_ext victor_nb", "%%victor fast\\nhello")
        page.run_all()
        page.until_shown(1, "simulated")
"""
