// SPDX-License-Identifier: MIT
namespace Ksplice.Build.Differencing;

/// <summary>
/// The correlation of two objects as one comparison sees it: pairs of which it found that they are not one thing are taken apart.
/// </summary>
internal sealed class Pairing(Correlation correlation)
{
    private readonly HashSet<ObjectNode> _apart = [];

    public ObjectGraph Pre => correlation.Pre;

    public ObjectGraph Post => correlation.Post;

    /// <inheritdoc cref="Correlation.Ambiguous"/>
    public IReadOnlyDictionary<ObjectNode, IReadOnlyList<ObjectNode>> Ambiguous => correlation.Ambiguous;

    public ObjectNode? PostOf(ObjectNode pre) => _apart.Contains(pre) ? null : correlation.PostOf(pre);

    public ObjectNode? PreOf(ObjectNode post) => _apart.Contains(post) ? null : correlation.PreOf(post);

    /// <summary>Takes a pair apart: the post node is then a new thing.</summary>
    public void Separate(ObjectNode post)
    {
        if (correlation.PreOf(post) is { } pre)
            _apart.Add(pre);
        _apart.Add(post);
    }
}
