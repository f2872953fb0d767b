/* A widget that shows nothing: a page that hears of it loads what widgets with scripts need. */

export default { render() {} };
