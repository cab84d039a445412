"""Pages that the documentation makes while it is built: the evidence for each paper."""

from mkdocs.structure.files import File, InclusionLevel

from softwood.papers import pages


def on_files(files, config):
    """Add the generated pages; only the overview stands in the navigation."""
    for path, text in pages().items():
        page = File.generated(config, path, content=text)
        page.inclusion = InclusionLevel.INCLUDED if path == "evidence.md" else InclusionLevel.NOT_IN_NAV
        files.append(page)
    return files
